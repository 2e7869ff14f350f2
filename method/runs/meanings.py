"""What everything in a run's folder means: the source of docs/metrics.md.

Beside `files.py`, which says what may stand there. What a method adds stands with the method (`Unlearner.metric_keys`
and `history_columns`). A key, column or array that a run writes and nobody explains fails tests/test_meanings.py.
"""

from dataclasses import dataclass

import method.evaluation.own  # noqa: F401  (fills OWN_METRICS)
from method.evaluation import registry
from method.evaluation.columns import GUESSING


@dataclass(frozen=True)
class Meaning:
    """What a value is, its unit and range, and when it is null (empty: never)."""

    what: str
    unit: str = ""
    limits: str = ""
    null: str = ""


def _percent(what: str, null: str = "") -> Meaning:
    return Meaning(what, "percent", "0 to 100", null)


def _count(what: str, null: str = "") -> Meaning:
    return Meaning(what, "samples", "0 and more", null)


def _nats(what: str, null: str) -> Meaning:
    return Meaning(what, "nats", "0 and more", null)


NO_TEST = "the test set is empty"
NO_FORGET_TEST = "the test set has no sample of the forget groups"
FEW = "the forget set has fewer than 20 samples"
SHORT = f"{FEW}, or more of a target than val and test together"
FEW_PAIRS = f"{FEW}, or there are fewer than 20 pairs"
NO_REFERENCE = "there is no retrained run to compare with"
NO_OUTPUTS = f"{NO_REFERENCE}, its records cannot be read, or it has another number of classes"
BALANCED = (
    "members are the forget set, non-members as many samples of val and test with the same groups; the feature is the "
    "loss; mean over five draws"
)
GROUP_AWARE = "the same with non-members of the forgotten groups alone, as many of each group as both sides have"
DEVIATION = "sample standard deviation of {} over the five draws"
RATE = (
    "share of the forget set that the {} attack calls member at the threshold that gives the largest share while at "
    "most {} of the non-members are called so too; not interpolated, samples of one loss on one side together"
)
FEW_NEGATIVES = "{}, or there are fewer than {} non-members"
FEW_OF_GROUP = "R, or V and T, have fewer than 20 of the group"
NO_ORIGINAL = "the records of the original model are not there, or cannot be read"
ALIKE = "the groups weigh as in the group-aware attack, without a draw: the mean over all draws"
VERSIONS = (
    "AUC of whoever has the original and this model, who compares by how much phi = log(p / (1 - p)) of the target has "
    f"fallen: F against {{}} of F's groups; {ALIKE}; exact retraining leaves it above 50 too, so {GUESSING}"
)

# metrics.json, in the order in which a run writes it.

METRICS = {
    "schema": Meaning("version of this file's keys", limits="2 now; a file without it has 1"),
    "n_train": _count("size of the train set D; pretrain alone has it"),
    "n_retain": _count("size of the retain set R"),
    "n_forget": _count("size of the forget set F"),
    "n_val": _count("size of the validation set V"),
    "n_test": _count("size of the test set T"),
    "train_acc": _percent("accuracy on D; pretrain alone has it"),
    "retain_acc": _percent("accuracy on R"),
    "forget_acc": _percent("accuracy on F itself; other papers report 100 minus it as UA"),
    "val_acc": _percent("accuracy on V"),
    "test_acc": _percent("accuracy on T", NO_TEST),
    "mia": _percent(
        "share of F that random forests on the loss, fitted on R as members and V as non-members, call non-member; "
        "the largest share over six forests (the published attack)"
    ),
    "mia_forest_auc": _percent(f"AUC of that forest's member probability, F against T; {GUESSING}", NO_TEST),
    "mia_baseline": _percent(
        "what `mia` is near to where the loss carries no signal: 100 n_val / (n_retain + n_val); not in bf16, where "
        "many losses are equal and the larger set wins them all"
    ),
    "in_fp32": Meaning(
        "with `--eval_precision bf16`, where accuracies and attack above are of the pass in bf16: the same keys of the "
        "pass in fp32, which all keys below are of",
        "percent by key",
    ),
    "equalized_odds": _percent(
        "mean over u in {0, 1} of |acc(u, s = 0) - acc(u, s = 1)| on T; u and s are target and sensitive value of "
        "binary data, else whether they occur in a forget group",
        "T has no sample of one of the four cells",
    ),
    "forget_group_acc": _percent("accuracy on T's samples of the forget groups", NO_FORGET_TEST),
    "mia_auc": _percent(
        f"AUC of the balanced attack: {BALANCED}; {GUESSING}; above 50 F has the lower losses", SHORT
    ),
    "mia_auc_sd": Meaning(DEVIATION.format("`mia_auc`"), "percent", "0 and more", SHORT),
    "mia_balanced_acc": _percent(
        f"accuracy of a logistic regression on the same samples, in five folds; {GUESSING}", SHORT
    ),
    "mia_balanced_acc_sd": Meaning(DEVIATION.format("`mia_balanced_acc`"), "percent", "0 and more", SHORT),
    "mia_filled": _percent(
        "share of these non-members that come from other groups of the same target, where a group is short of them",
        SHORT,
    ),
    "mia_group_auc": _percent(f"AUC of the group-aware attack: {GROUP_AWARE}; {GUESSING}", FEW_PAIRS),
    "mia_group_auc_sd": Meaning(DEVIATION.format("`mia_group_auc`"), "percent", "0 and more", FEW_PAIRS),
    "mia_group_balanced_acc": _percent("accuracy of a logistic regression on these samples, in five folds", FEW_PAIRS),
    "mia_group_balanced_acc_sd": Meaning(
        DEVIATION.format("`mia_group_balanced_acc`"), "percent", "0 and more", FEW_PAIRS
    ),
    **{
        key: meaning
        for attack, name, few in (("mia", "balanced", SHORT), ("mia_group", "group-aware", FEW_PAIRS))
        for place, rate, n in (("1", "1 %", 100), ("01", "0.1 %", 1000))
        for key, meaning in (
            (f"{attack}_tpr_at_{place}", _percent(RATE.format(name, rate), FEW_NEGATIVES.format(few, n))),
            (
                f"{attack}_tpr_at_{place}_sd",
                Meaning(
                    DEVIATION.format(f"`{attack}_tpr_at_{place}`"),
                    "percent",
                    "0 and more",
                    FEW_NEGATIVES.format(few, n),
                ),
            ),
        )
    },
    "mia_retain_auc": _percent(
        f"AUC of the same attack on those who stay: members are R, non-members V and T; {ALIKE}; {GUESSING}",
        "there are fewer than 20 pairs",
    ),
    "retain_exposure": Meaning(
        "`mia_retain_auc` minus that of the original model on the same samples: above 0 those who stay are told from "
        "unseen samples more easily than before",
        "percent",
        "-100 to 100",
        f"{NO_ORIGINAL}; or there are fewer than 20 pairs",
    ),
    "versions_auc_retain": _percent(
        VERSIONS.format("the retained samples"), f"{NO_ORIGINAL}; or R has fewer than 20 pairs"
    ),
    "versions_auc_held_out": _percent(
        VERSIONS.format("samples of V and T"), f"{NO_ORIGINAL}; or there are fewer than 20 pairs"
    ),
    "forget_group_names": Meaning("names of the forget groups", "list of texts"),
    "forget_composition": Meaning("a row a forget group: [its keys](#forget_composition)", "list of tables"),
    "forget_group_acc_weighted": _percent(
        "sum over the groups g of F of their share in F times acc(T's samples of g); of one group `forget_group_acc`",
        "T has no sample of one of the groups of F",
    ),
    "worst_group_acc": _percent("lowest accuracy on T over the groups that T has", NO_TEST),
    "worst_group": Meaning("that group's name", "text", null=NO_TEST),
    "worst_group_n": Meaning("how many samples of it T has", "samples", "1 and more", NO_TEST),
    "adjusted_acc": _percent(
        "sum over the groups g of D of their share in D times acc(T's samples of g), as is the custom for Waterbirds: "
        "it is weighted by the shares in train, so a small group hardly counts; `mean_group_acc` is not",
        "T has no sample of one of the groups of D",
    ),
    "mean_group_acc": _percent("mean over the groups that T has of acc(T's samples of g), every group alike", NO_TEST),
    "equalized_odds_full": _percent(
        "mean over targets y and pairs a < b of sensitive values of |acc(y, a) - acc(y, b)| on T, without pairs that "
        "lack samples",
        "no target has test samples of two sensitive values",
    ),
    "equalized_odds_full_skipped": Meaning("how many pairs that leaves out", "pairs", "0 and more"),
    "demographic_parity": _percent(
        "largest difference over classes and sensitive values of the share of T that is predicted as the class",
        "T has fewer than two sensitive values",
    ),
    "equalized_odds_pair": Meaning(
        "names of the two groups of one target whose test accuracies differ most, the better one first; of binary data "
        "the larger of the two differences in `equalized_odds`",
        "list of texts",
        null="no target has test samples of two sensitive values",
    ),
    "demographic_parity_pair": Meaning(
        "names of two groups of one target: the class whose predicted share differs most, with the sensitive values "
        "where that is largest and smallest",
        "list of texts",
        null="T has fewer than two sensitive values",
    ),
    "ece": _percent(
        "expected calibration error on T: over 15 bins of equal width, by the probability of the predicted class, the "
        "mean of |accuracy - mean probability|, weighted by the bins' samples",
        NO_TEST,
    ),
    "auroc": _percent(
        "mean over targets y of the chance that p(y) of a sample of y exceeds that of a sample of another target, on T",
        "T has fewer than two targets",
    ),
    "intervals": Meaning(
        "by key, both ends of the 95 % interval of an accuracy or fairness metric above: the chance of the images, of "
        "which the seeds' is no part. Of shares Wilson's, of the others made from Wilson's. Near ties "
        "`equalized_odds`, `equalized_odds_full`, `demographic_parity` and `worst_group_acc` are themselves biased, as "
        "noise moves groups apart, and the intervals of the first two hold the truth less often: "
        "[how often](results/intervals.md)",
        "percent by key",
    ),
    "groups": Meaning("a row a group: [its keys](#groups)", "list of tables"),
    "reasons": Meaning("for every key that is null, a sentence that says why", "texts by key"),
    "seconds": Meaning("time of training or unlearning without evaluation", "s", "0 and more"),
    "peak_memory_bytes": Meaning("most GPU memory allocated", "bytes", "0 and more", "there is no NVIDIA GPU"),
    "speedup": Meaning("`seconds` of the retrained run divided by this run's", "x", "0 and more", NO_REFERENCE),
    "tow": _percent(
        "tug of war: 100 times the product over RA, UA, TA of (1 - gap / 100); 100 is the retrained model",
        f"{NO_REFERENCE}, or one of the three is null in either run",
    ),
    "avg_gap": _percent(
        "mean of the six `gaps`; 0 is the retrained model", f"{NO_REFERENCE}, or one of the six is null in either run"
    ),
    "privleak": Meaning(
        "PrivLeak: 100 (AUC_r - AUC_u) / (1 - AUC_r), of `mia_group_auc` as a fraction, of this run (u) and the "
        "retrained one (r); 0 is the retrained model, below 0 F is under-forgotten, above 0 over-forgotten",
        "percent",
        "-100 and more",
        f"{NO_REFERENCE}, `mia_group_auc` is null in either run, or 100 in the retrained one",
    ),
    "gaps": Meaning(
        "absolute difference to the retrained run in RA, UA, TA, MIA, EO and GA, by key; of both in fp32 where one of "
        "them was not evaluated in bf16; null where either is",
        "percent",
        "0 to 100",
        NO_REFERENCE,
    ),
    "kl_to_retrain_forget": _nats("mean over F of KL(p_retrained || p_model) of the softmax outputs", NO_OUTPUTS),
    "agreement_forget": _percent("share of F for which both models predict the same class", NO_OUTPUTS),
    "kl_to_retrain_test": _nats("the same divergence on T", f"{NO_OUTPUTS}; {NO_TEST}"),
    "agreement_test": _percent("the same share of T", f"{NO_OUTPUTS}; {NO_TEST}"),
    "kl_to_retrain_forget_groups": _nats(
        "the same divergence on T's samples of the forget groups", f"{NO_OUTPUTS}; {NO_FORGET_TEST}"
    ),
    "agreement_forget_groups": _percent(
        "the same share of T's samples of the forget groups", f"{NO_OUTPUTS}; {NO_FORGET_TEST}"
    ),
    "ks_to_retrain_forget": _percent(
        "Kolmogorov and Smirnov's D: the largest difference, over all values, between the share of F whose loss is at "
        "most that under this model and under the retrained one; the same images twice, so its usual p value does not "
        "hold",
        NO_OUTPUTS,
    ),
    "reference": Meaning(
        "name of the retrained run's folder; `itself` for a retrained run that is its own reference", "text",
        null=NO_REFERENCE,
    ),
    "n_requests": Meaning("names in the forget list; with `--forget_list` alone", "names", "1 and more"),
    "n_skipped_requests": Meaning("names that `--skip_unknown` left out; with a list alone", "names", "0 and more"),
    "n_skipped_images": Meaning("images left out; with `--skip_bad_images` alone", "images", "0 and more"),
    "without_rewind": Meaning(
        "scrub with `--scrub_rewind`: all of these keys once more, of the last epoch's weights", "table"
    ),
}  # fmt: skip


def explain_metrics() -> dict[str, Meaning]:
    """METRICS, and those that are registered."""
    own = {
        key: Meaning(one.column.what, one.column.unit.replace("%", "percent"), one.limits, one.null)
        for key, one in registry.OWN_METRICS.items()
    }
    return METRICS | own


GROUP = {
    "id": Meaning("target times the number of sensitive values plus sensitive value", "number", "from 0"),
    "name": Meaning("target and sensitive value in words", "text"),
    "n_train": _count("samples of the group in D; in pretrain alone"),
    "train_acc": _percent("accuracy on them; in pretrain alone", "D has none"),
    "n_retain": _count("samples of the group in R"),
    "retain_acc": _percent("accuracy on them", "R has none"),
    "n_forget": _count("samples of the group in F"),
    "forget_acc": _percent("accuracy on them", "F has none"),
    "n_val": _count("samples of the group in V"),
    "val_acc": _percent("accuracy on them", "V has none"),
    "n_test": _count("samples of the group in T"),
    "test_acc": _percent("accuracy on them", "T has none"),
    "test_interval": Meaning(
        "95 % interval of that accuracy, lower and upper end (Wilson 1927)", "percent", "0 to 100", "T has none"
    ),
    "mia_retain_auc": _percent("AUC of the group's samples of R against its samples of V and T, by loss", FEW_OF_GROUP),
    "retain_exposure": Meaning(
        "the same minus that of the original model",
        "percent",
        "-100 to 100",
        f"{FEW_OF_GROUP}; or {NO_ORIGINAL}",
    ),
    "test_ece": _percent("`ece` of T's samples of the group", "T has none"),
    "test_auroc": _percent(
        "chance that p(target) of a sample of the group exceeds that of one of another target and the same sensitive "
        "value, on T",
        "T has none of the one or the other",
    ),
}
COMPOSITION = {
    "name": GROUP["name"],
    "n_forget": _count("samples of the group that are forgotten"),
    "n_train": _count("samples of the group in D"),
    "test_acc": _percent("accuracy on T's samples of the group", "T has none"),
    "n_test": _count("how many these are"),
}

# history.csv. A method's own columns stand with the method.

HISTORY = {
    "epoch": Meaning("number of the epoch", limits="from 0"),
    "PHASE_loss": Meaning("mean over the steps of what a phase descends; empty in epochs without the phase"),
    "lr": Meaning("learning rate of the network at the epoch's last step; methods with epochs have it"),
    "seconds": Meaning("time of the epoch's phases, without validation and saving", "s", "0 and more"),
    "val_acc": _percent("accuracy on V after the epoch: in pretrain and retrain, elsewhere with `--evaluate_every`"),
    "val_worst_group_acc": _percent("lowest accuracy on V over the groups that V has; where `val_acc` is"),
}

# Arrays: type, shape, meaning.

RECORDS = {
    "index": ("int64", "(n,)", "row of the data set's table: which sample it is"),
    "split": ("int64", "(n,)", "0 train, 1 val, 2 test, 3 left out of train by `--leave_out`"),
    "target": ("int64", "(n,)", "code of the target, from 0"),
    "sensitive": ("int64", "(n,)", "code of the sensitive value, from 0"),
    "group": ("int64", "(n,)", "target times the number of sensitive values plus sensitive value"),
    "logits": ("float32", "(n, C)", "the network's outputs for the C classes, in eval mode, on plain images"),
    "prediction": ("int64", "(n,)", "class of the largest logit; a tie goes to the first"),
    "loss": ("float64", "(n,)", "cross-entropy of the target in nats, computed from the logits in float64"),
    "confidence": ("float64", "(n,)", "probability of the target, exp(-loss)"),
}
RECORDS_BF16 = {  # of a run that is evaluated in bf16 as well
    "bf16_logits": (
        "float32",
        "(n, C)",
        "with `--eval_precision bf16`: the outputs of a second pass, all in bf16; those "
        "above are of a pass in fp32 then",
    ),
    "bf16_loss": (
        "float64",
        "(n,)",
        "with `--eval_precision bf16`: the cross-entropy by a log-softmax of these that is rounded to bf16",
    ),
}
SPLITS = {
    "train": ("int64", "(n,)", "rows of the data set's table that make D; sorted, as in the sets below"),
    "val": ("int64", "(n,)", "rows of V"),
    "test": ("int64", "(n,)", "rows of T"),
    "forget": ("int64", "(n,)", "rows of F, a part of D; none for pretrain"),
    "retain": ("int64", "(n,)", "rows of R, which is D without F"),
    "forget_groups": ("int64", "(n,)", "ids of the groups that F is drawn from"),
    "data_fingerprint": ("text", "()", "SHA-256 of the table: names, labels and splits of all samples"),
    "forget_fingerprint": ("text", "()", "SHA-256 of the data fingerprint and the rows of F; empty for pretrain"),
    "left_out": ("int64", "(n,)", "with `--leave_out` alone: rows of no set, which no run trains on"),
}

# The other files.

FILES = {
    "config.yaml": "every value with its source, what the run reads by content, versions: [its fields](#configyaml)",
    "splits.npz": "who is in which set: [its arrays](#splitsnpz)",
    "history.csv": "one row an epoch: [its columns](#historycsv)",
    "model.pt": "the weights: `torch.load(file, weights_only=True)` gives `model`, a state dict, and `facts`",
    "records.npz": "labels and outputs of every sample: [its arrays](#recordsnpz)",
    "records_without_rewind.npz": "scrub with `--scrub_rewind`: the same of the last epoch's weights",
    "metrics.json": "the metrics: [its keys](#metricsjson)",
    "run.log": "a line an event, with its time",
    "rows.json": "in a redacted copy of a pretrained run: its metrics on every forget set of the others",
    "status.json": "how the run stands: [its fields](#statusjson-and-done)",
    "done": "there once the run ended well; the files without which it is not done, one a line",
    "forget_list.txt": "with `--forget_list`: the names in it, each once; it makes the same run again",
    "last.pt": "state of an unfinished run, from which the same command continues; removed at the end",
    "last_NAME.pt": "weights of an earlier epoch that this state needs, such as those of a rewind; removed likewise",
    "lock": "held by the process that works on the run",
    "tensorboard/": "with `--tensorboard`: event files",
    "wandb/": "with `--wandb`: what Weights & Biases writes",
}
STATUS = {
    "state": "running, interrupted, failed or done",
    "reason": "why it failed or was interrupted, in a sentence; else null",
}
CONFIG = {
    "config": "value of every flag that the method and the data set have",
    "sources": "where each value comes from: schema, a file with its section, `--flag`, preset reference",
    "identity": "the values that can change a number, with files by their content: two runs are the same if these are",
    "task": "what is forgotten, in a word: split0, multi3, groups-..., list-..., random",
    "reweights_by_default": "whether the method reweights unless it is told not to",
    "imported": "of a model that another program trained: name and SHA-256 of its file, and its outputs in their order",
    "fingerprints.data": "SHA-256 of the table: names, labels and splits of all samples",
    "fingerprints.forget": "SHA-256 of that and the rows of the forget set; null for pretrain",
    "groups.names": "name of every group, by its id",
    "groups.targets": "name of every class, by its code",
    "groups.n_targets": "number of classes",
    "groups.n_sensitive": "number of sensitive values",
    "groups.forget": "ids of the forget groups",
    "pixels": "mean and standard deviation by which the network's input was scaled, for pixels between 0 and 1",
    "inputs.folder": "folder of the data set; null for one that comes with the program",
    "inputs.labels": "SHA-256 of each label file",
    "inputs.table": "with `--skip_bad_images`: fingerprint of the table before images were left out",
    "inputs.backbone": "with `--freeze_backbone`: SHA-256 of the tensors of the network whose features are read",
    "inputs.images": "number, digests of sizes and times (with `--image_digest` of the content), and `turned`: how "
    "many are turned as EXIF says; null for a data set that comes with the program",
    "inputs.reference": "name of the retrained run that was compared with, and SHA-256 of its metrics.json",
    "provenance.device": "cpu, mps, or the name of the GPU",
    "provenance.threads": "threads inside operations",
    "provenance.world_size": "processes of the run",
    "provenance.precision": "bfloat16 or float32, what `--precision` came to",
    "provenance.arithmetic": "settings of cuDNN and TF32; on NVIDIA GPUs alone",
    "provenance.original_sha256": "SHA-256 of the pretrained model.pt that the run starts from; else null",
    "provenance.model_sha256": "SHA-256 of the run's own model.pt, in a copy of a pretrained run that lacks it",
    "provenance.python": "version of Python",
    "provenance.torch": "version of torch",
    "provenance.numpy": "version of numpy",
    "provenance.machine": "type of the processor",
    "provenance.commit": "commit of this program; null outside a git checkout",
    "provenance.dirty": "whether tracked files were edited since that commit; null outside a git checkout",
    "requests": "with `--forget_list`: `n` names, `n_skipped` of them left out, and `skipped`, these by reason",
    "redacted": "in a redacted copy (`--redact`) alone: `ended`, date and time of the run",
    "skipped_images": "with `--skip_bad_images`: `n`, how many were left out, and `first`, the first of them",
}
