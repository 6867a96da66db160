"""The logits of a response against a forward pass over each text alone."""

import math

import pytest
import torch
import trainer_kit

from sgpo.models.scoring import mean_log_probability, response_logits

PROMPTS, RESPONSES = [[3, 4, 5, 6], [7]], [[8, 9], [4, 3, 5]]


def test_padding_moves_no_logits_and_the_mode_is_put_back() -> None:
    model = trainer_kit.make_model().train()
    found = response_logits(model, PROMPTS, RESPONSES)
    assert model.training
    model.eval()
    for prompt, response, logits in zip(PROMPTS, RESPONSES, found, strict=True):
        with torch.no_grad():
            whole = model(input_ids=torch.tensor([prompt + response])).logits[0]
        assert torch.allclose(logits, whole[len(prompt) - 1 : -1], atol=1e-5)
        assert logits.shape[0] == len(response)


def test_the_mean_over_a_response() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)], [math.log(4.0), 0.0]])
    assert mean_log_probability(logits, [1, 0]) == pytest.approx((math.log(0.75) + math.log(0.8)) / 2)
