"""What each verb does: calls the Python face and prints. Data goes to stdout, progress to stderr."""

from pellucid.verbs.checking import bench, check, check_data, check_method, table
from pellucid.verbs.looking import doctor, list_, show
from pellucid.verbs.making import demo, features, train
from pellucid.verbs.measuring import evaluate, report, severities, shift
from pellucid.verbs.sharing import convert, export
from pellucid.verbs.using import explain, predict

__all__ = [
    "bench",
    "check",
    "check_data",
    "check_method",
    "convert",
    "demo",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "features",
    "list_",
    "predict",
    "report",
    "severities",
    "shift",
    "show",
    "table",
    "train",
]
