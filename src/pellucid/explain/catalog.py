"""The methods by name, in one line each; imports nothing, so that listing them is quick."""

METHODS: dict[str, str] = {
    "iba": "nats of each unit that must pass a noisy bottleneck for the answer to stay (Schulz 2020, Jiang 2020); never negative",
    "gradient": "how fast the score moves with each unit (Simonyan 2014); never negative unless read as signed",
    "gradient_x_input": "gradient of the score times the units; the cheapest, right for linear models",
    "integrated_gradients": "mean gradient on the way from a baseline, times the way; sums to the change of score (Sundararajan 2017)",
    "expected_gradients": "integrated gradients averaged over many baselines (Erion 2021); sums to the change from their mean score",
    "gradcam": "channels of a feature map by their mean gradient (Selvaraju 2017), for pictures; never negative",
    "smoothgrad": "mean gradient over copies with noise (Smilkov 2017)",
    "occlusion": "score lost when one word, or a sliding window, is removed (Zeiler 2014); needs no gradient",
    "lime": "linear model of the score fitted to random removals (Ribeiro 2016); needs no gradient",
    "kernel_shap": "Shapley values of words, sums to the change of score, exact for few (Lundberg 2017); needs no gradient",
    "attention_rollout": "attention followed through all layers (Abnar 2020), for models that offer it; the same for every answer",
    "query_attention": "where the query of a detected box looked; attention as it is, which no score was asked about",
    "attention": "what the model itself gives each unit where it pools them (Long 2018); attention as it is, the same for every answer",
    "random": "uniform numbers; what every other method must beat",
}
SHORT = {"ig": "integrated_gradients", "shap": "kernel_shap", "rollout": "attention_rollout", "gxi": "gradient_x_input"}
FITTED = {"readout": "the bottleneck of a network that was trained once to say the gates (Schulz 2020); two passes, for test sets"}


def canonical(name: str) -> str:
    """The full name of a method that has a short one."""
    return SHORT.get(name, name)
