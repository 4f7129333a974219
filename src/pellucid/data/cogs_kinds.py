"""Names of COGS's types: what its test of generalisation asks, and what its training rows are."""

KINDS = (  # in the paper's order
    "subj_to_obj_common",
    "subj_to_obj_proper",
    "obj_to_subj_common",
    "obj_to_subj_proper",
    "prim_to_subj_common",
    "prim_to_subj_proper",
    "prim_to_obj_common",
    "prim_to_obj_proper",
    "prim_to_inf_arg",
    "obj_pp_to_subj_pp",
    "cp_recursion",
    "pp_recursion",
    "active_to_passive",
    "passive_to_active",
    "obj_omitted_transitive_to_transitive",
    "unacc_to_transitive",
    "do_dative_to_pp_dative",
    "pp_dative_to_do_dative",
    "only_seen_as_transitive_subj_as_unacc_subj",
    "only_seen_as_unacc_subj_as_obj_omitted_transitive_subj",
    "only_seen_as_unacc_subj_as_unerg_subj",
)
STRUCTURAL = ("obj_pp_to_subj_pp", "cp_recursion", "pp_recursion")  # known words in a structure that training has not shown
LEXICAL = tuple(kind for kind in KINDS if kind not in STRUCTURAL)  # a known structure around a word that it has not been shown with

RECURSIONS = {"cp_recursion": "ccomp", "pp_recursion": "nmod"}  # and the role whose count in a logical form is the depth

IN_DISTRIBUTION = "in_distribution"
PRIMITIVE = "primitive"
EXPOSURES = tuple(  # a training row each: the one use in which a word of a lexical kind is shown
    f"exposure_example_{use}"
    for use in (
        "subj_common",
        "subj_proper",
        "obj_common",
        "obj_proper",
        "active",
        "passive",
        "obj_omitted_transitive",
        "unacc",
        "do_dative",
        "pp_dative",
        "transitive_subj",
        "unacc_subj",
    )
)
CATEGORIES = (*KINDS, IN_DISTRIBUTION, PRIMITIVE, *EXPOSURES)


def depth(category: str, label: str) -> int | None:
    """How deep the recursion of a logical form goes; None where its type is none of recursion."""
    return label.split().count(RECURSIONS[category]) if category in RECURSIONS else None
