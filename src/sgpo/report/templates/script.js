// Two comforts; the page says everything without them.
"use strict";

// 1. Charts: the values at the step under the pointer.
for (const chart of document.querySelectorAll(".panels .chart")) {
  const out = chart.closest("figure").querySelector(".readout");
  if (!out) continue;
  const cursor = chart.querySelector(".cursor");
  const [low, high] = chart.dataset.x.split(",").map(Number);
  const [left, right] = chart.dataset.box.split(",").map(Number);
  const lines = [...chart.querySelectorAll(".line")].reverse().map((line) => ({
    hue: line.parentNode.getAttribute("class").split(" ")[1],
    points: line.dataset.s.split(";").map((pair) => pair.split(",").map(Number)),
  }));
  const show = (value) => (chart.dataset.unit === "%" ? (100 * value).toFixed(1) + "%" : value.toPrecision(3));
  const clear = () => {
    out.replaceChildren();
    cursor.setAttribute("visibility", "hidden");
  };
  chart.addEventListener("pointermove", (event) => {
    const box = chart.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * chart.viewBox.baseVal.width;
    const share = Math.min(1, Math.max(0, (x - left) / (right - left)));
    const step = low + share * (high - low);
    const at = left + share * (right - left);
    cursor.setAttribute("x1", at);
    cursor.setAttribute("x2", at);
    cursor.setAttribute("visibility", "visible");
    out.replaceChildren(chart.dataset.at.replace("{}", Math.round(step)));
    for (const { hue, points } of lines) {
      const legend = document.getElementById(hue);
      if (legend && !legend.checked) continue;
      const near = points.reduce((a, b) => (Math.abs(b[0] - step) < Math.abs(a[0] - step) ? b : a));
      const value = document.createElement("b");
      value.className = hue;
      value.textContent = show(near[1]);
      out.append("  ", value);
    }
  });
  chart.addEventListener("pointerleave", clear);
}

// 2. The token view: one tab stop for a response, arrow keys within it.
for (const flow of document.querySelectorAll(".flow")) {
  const tokens = [...flow.querySelectorAll(".t")];
  const first = tokens.find((token) => token.classList.contains("peak")) || tokens[0];
  for (const token of tokens) token.tabIndex = token === first ? 0 : -1;
  flow.addEventListener("keydown", (event) => {
    const move = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const here = tokens.indexOf(document.activeElement);
    if (here < 0 || !(move || event.key === "Home" || event.key === "End")) return;
    const next = event.key === "Home" ? 0 : event.key === "End" ? tokens.length - 1 : here + move;
    if (!tokens[next]) return;
    event.preventDefault();
    tokens[here].tabIndex = -1;
    tokens[next].tabIndex = 0;
    tokens[next].focus();
  });
}
