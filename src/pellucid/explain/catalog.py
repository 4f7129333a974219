"""The methods by name, in one line each; imports nothing, so that listing them is quick."""

METHODS: dict[str, str] = {
    "iba": "nats of each unit that must pass a noisy bottleneck for the answer to stay (Schulz 2020, Jiang 2020); never negative",
    "integrated_gradients": "mean gradient on the way from a baseline, times the way; sums to the change of score (Sundararajan 2017)",
    "gradient_x_input": "gradient of the score times the units; the cheapest, right for linear models",
    "occlusion": "score lost when one word or unit at a time becomes the baseline; needs no gradient",
    "lime": "linear model of the score fitted to random removals (Ribeiro 2016); needs no gradient",
    "random": "uniform numbers; what every other method must beat",
}
