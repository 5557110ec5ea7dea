#!/usr/bin/python3
"""Prints schedules.txt: the learning rates of two groups over 100 epochs, as PyTorch's schedulers set them.

A line is NAME and the rates: of both groups when the schedule has been made, and after each of its steps. The cases
stand in tests/test_rates.c as well. SPDX-License-Identifier: Apache-2.0
"""
import torch
from torch.optim import lr_scheduler

EPOCHS = 100


def cycle(optimizer, **keywords):
    return lr_scheduler.OneCycleLR(optimizer, max_lr=0.5, total_steps=EPOCHS + 1, cycle_momentum=False, **keywords)


CASES = {
    "step": lambda o: lr_scheduler.StepLR(o, 30),
    "step_gamma": lambda o: lr_scheduler.StepLR(o, 7, gamma=0.75),
    "multistep": lambda o: lr_scheduler.MultiStepLR(o, [30, 80]),
    "multistep_gamma": lambda o: lr_scheduler.MultiStepLR(o, [0, 5, 5, 60, 200], gamma=0.5),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.95),
    "linear": lambda o: lr_scheduler.LinearLR(o),
    "linear_down": lambda o: lr_scheduler.LinearLR(o, start_factor=1.0, end_factor=0.125, total_iters=60),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 100),
    "cosine_again": lambda o: lr_scheduler.CosineAnnealingLR(o, 17, eta_min=0.001),
    "one_cycle": cycle,
    "one_cycle_linear": lambda o: cycle(o, pct_start=0.25, anneal_strategy="linear", div_factor=10, final_div_factor=100),
    "one_cycle_three": lambda o: cycle(o, three_phase=True),
    "one_cycle_down": lambda o: cycle(o, pct_start=0.0),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: min((epoch + 1) / 10, 10 / (epoch + 1))),
}


def main():
    print("# What PyTorch 1.13.1 gives; printed by schedules.py, which says what stands here.")
    print("# SPDX-License-Identifier: Apache-2.0")
    for name, make in CASES.items():
        groups = [{"params": [torch.zeros(1)], "lr": lr} for lr in (0.1, 0.02)]
        optimizer = torch.optim.SGD(groups, lr=0.1)
        schedule, rates = make(optimizer), []
        for epoch in range(EPOCHS + 1):
            rates += [group["lr"] for group in optimizer.param_groups]
            if epoch < EPOCHS:
                optimizer.step()
                schedule.step()
        print("%s %s" % (name, " ".join("%.17g" % rate for rate in rates)))


main()
