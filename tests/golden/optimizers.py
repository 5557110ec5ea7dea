#!/usr/bin/python3
"""Prints optimizers.txt: 100 steps of each optimiser on a small model, as PyTorch does them, in f64.

Of clipped ones the norm of all gradients follows each loss that has gradients, and of averaged ones the average of
the parameters the parameters. A line is NAME LOSSES | PARAMETERS: the loss before each step, and all parameters after the last. Every seventh step
comes without gradients, and the third parameter never has one. Those of groups have the weight in a group of its own,
and scheduled ones take a step of the schedule after each of the optimiser. The model, the data and the rates stand in
tests/test_optimizers.c as well. SPDX-License-Identifier: Apache-2.0
"""
import torch
from torch import optim
from torch.optim import lr_scheduler

STEPS = 100


class Lion(optim.Optimizer):
    """Which torch has not: the update as its paper (Chen et al., 2023) states it."""

    def __init__(self, params, **rates):
        super().__init__(params, rates)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (b1, b2), lr = group["betas"], group["lr"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("mean", torch.zeros_like(p))
                update = torch.sign(b1 * m + (1 - b1) * p.grad) + group["weight_decay"] * p
                p.sub_(lr * update)
                m.mul_(b2).add_(p.grad, alpha=1 - b2)


CASES = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "sgd_momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, dampening=0.25, weight_decay=0.01),
    "sgd_nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.05),
    "adam_decay": lambda p: optim.Adam(p, lr=0.05, betas=(0.5, 0.75), eps=1e-4, weight_decay=0.1),
    "adam_amsgrad": lambda p: optim.Adam(p, lr=0.05, betas=(0.9, 0.75), amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.05, weight_decay=0.1),
    "adamw_amsgrad": lambda p: optim.AdamW(p, lr=0.05, betas=(0.9, 0.75), weight_decay=0.1, amsgrad=True),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01),
    "rmsprop_momentum": lambda p: optim.RMSprop(p, lr=0.01, alpha=0.75, momentum=0.9, weight_decay=0.1),
    "rmsprop_centered": lambda p: optim.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-4, centered=True),
    "rmsprop_both": lambda p: optim.RMSprop(p, lr=0.01, alpha=0.9, eps=1e-4, momentum=0.5, centered=True),
    "adagrad": lambda p: optim.Adagrad(p, lr=0.1),
    "adagrad_decay": lambda p: optim.Adagrad(p, lr=0.1, lr_decay=0.05, weight_decay=0.1, initial_accumulator_value=0.5),
    "sgd_clipped": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd_clipped_greatest": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd_clipped_by_value": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "sgd_averaged": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "lion": lambda p: Lion(p, lr=0.01, betas=(0.9, 0.99), weight_decay=0),
    "lion_decay": lambda p: Lion(p, lr=0.01, betas=(0.8, 0.95), weight_decay=0.1),
    "sgd_groups": lambda p: optim.SGD(groups(p, lr=0.05, momentum=0.9, weight_decay=0.01), lr=0.1),
    "sgd_groups_nesterov": lambda p: optim.SGD(groups(p, momentum=0.5), lr=0.1, momentum=0.9, nesterov=True),
    "adam_groups": lambda p: optim.Adam(groups(p, lr=0.02, betas=(0.5, 0.75), eps=1e-4, weight_decay=0.1), lr=0.05),
    "adam_groups_amsgrad": lambda p: optim.Adam(groups(p, lr=0.02), lr=0.05, betas=(0.9, 0.75), amsgrad=True),
    "rmsprop_groups": lambda p: optim.RMSprop(groups(p, lr=0.02, alpha=0.75, momentum=0.9), lr=0.01, centered=True),
    "adagrad_groups": lambda p: optim.Adagrad(groups(p, lr=0.05, lr_decay=0.05, weight_decay=0.1), lr=0.1),
    "lion_groups": lambda p: Lion(groups(p, lr=0.02, betas=(0.8, 0.95)), lr=0.01, betas=(0.9, 0.99), weight_decay=0.1),
    "sgd_scheduled": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "adam_scheduled": lambda p: optim.Adam(p, lr=0.05),
    "rmsprop_scheduled": lambda p: optim.RMSprop(p, lr=0.02, momentum=0.5),
    "adamw_everything": lambda p: optim.AdamW(groups(p, lr=0.02, betas=(0.8, 0.999), weight_decay=0.2), lr=0.05,
                                              weight_decay=0.01),
}

SCHEDULES = {
    "sgd_scheduled": lambda o: lr_scheduler.StepLR(o, 30, gamma=0.5),
    "adam_scheduled": lambda o: lr_scheduler.OneCycleLR(o, 0.1, STEPS + 1, cycle_momentum=False),
    "rmsprop_scheduled": lambda o: lr_scheduler.LinearLR(o, total_iters=20),
    "adamw_everything": lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, eta_min=0.001),
}


def groups(parameters, **rates):
    """The first parameter, and the others with rates of their own."""
    return [{"params": parameters[:1]}, dict(params=parameters[1:], **rates)]


def numbers(shape, seed):
    """Seventeen numbers in turn from -1 to 1."""
    count = torch.Size(shape).numel()
    return torch.tensor([((i * 7 + seed * 5) % 17 - 8) / 8 for i in range(count)], dtype=torch.float64).reshape(shape)


def clip(name, parameters):
    """The norms that clipping gave."""
    if name in ("sgd_clipped", "adamw_everything"):
        return [torch.nn.utils.clip_grad_norm_(parameters, 0.1).item()]
    if name == "sgd_clipped_greatest":
        return [torch.nn.utils.clip_grad_norm_(parameters, 0.0625, float("inf")).item()]
    if name == "sgd_clipped_by_value":
        torch.nn.utils.clip_grad_value_(parameters, 0.03125)
    return []


def train(name, make):
    x, target = numbers([8, 3], 1), numbers([8, 2], 2)
    weight, bias, idle = [numbers(shape, 3).requires_grad_() for shape in ([3, 2], [2], [4])]
    parameters = [weight, bias, idle]
    averages = [p.detach().clone() for p in parameters]
    optimizer, losses = make(parameters), []
    schedule = SCHEDULES[name](optimizer) if name in SCHEDULES else None
    for step in range(STEPS):
        loss = ((torch.tanh(x @ weight + bias) - target) ** 2).mean()
        losses.append(loss.item())
        optimizer.zero_grad(set_to_none=True)
        if step % 7 != 6:
            loss.backward()
            losses += clip(name, parameters)
        optimizer.step()
        if schedule:
            schedule.step()
        with torch.no_grad():
            for p, average in zip(parameters, averages):
                average.mul_(0.9).add_(p, alpha=0.1)
    parameters += averages if name in ("sgd_averaged", "adamw_everything") else []
    return losses, [v for p in parameters for v in p.flatten().tolist()]


def main():
    print("# What PyTorch 1.13.1 gives; printed by optimizers.py, which says what stands here.")
    print("# SPDX-License-Identifier: Apache-2.0")
    for name, make in CASES.items():
        losses, parameters = train(name, make)
        print("%s %s | %s" % (name, " ".join("%.14g" % v for v in losses), " ".join("%.14g" % v for v in parameters)))


main()
