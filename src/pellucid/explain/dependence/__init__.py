"""What "relevant for this prediction" means, exactly: functional dependence, its truths, its methods and its metrics.

Source: Afchar, Hennequin, Guigue 2021. Differs: truths are computed from the definition and not read from the task files.
"""
