from pellucid.table import markdown


def row(model, seed, home, away):
    return {
        **{"group": "Sentiment", "train": "films", "model": model, "seed": seed, "metric": "accuracy", "home": "films"},
        **{
            "values": {"films": home, "goods": away},
            "sizes": {"films": 100, "goods": 50},
            "detection": {},
            "claims": {},
            "train_time_s": 1.0,
        },
    }


def told(*rows):
    return markdown({"title": "T", "notes": "", "rows": list(rows)})


def test_a_table_gives_mean_spread_and_drop_by_hand():
    lines = told(row("A", 0, 0.9, 0.8), row("A", 1, 0.8, 0.8), row("B", 0, 0.7, 0.4), row("B", 1, 0.7, 0.6))
    assert "| A | 85.0 ± 7.1 | 80.0 ± 0.0 | -5.0 ± 7.1 |" in lines
    assert "| B | 70.0 ± 0.0 | 50.0 ± 14.1 | -20.0 ± 14.1 |" in lines
    assert "A is best on every set and loses least away." in lines


def test_where_the_first_model_does_not_win_is_said():
    lines = told(row("A", 0, 0.9, 0.5), row("B", 0, 0.8, 0.6))
    assert "**Where A does not win:** B is better on goods (60.0 against 50.0); B loses less away (-20.0 against -40.0)." in lines


def test_a_model_with_fewer_seeds_says_so():
    assert "| B (1 of 2 seeds) |" in told(row("A", 0, 0.9, 0.8), row("A", 1, 0.8, 0.8), row("B", 0, 0.7, 0.4))
