"""The metrics that are shown: key in metrics.json, title, meaning, unit, and which value is the best."""

from dataclasses import dataclass

REFERENCE, HIGH, LOW = "reference", "high", "low"
VALUE, DIFFERENCE = "value", "difference"  # what is a distance to the retrained model, and so has a noise floor
GUESSING = "50 is guessing; compare with the retrained model"  # what an attack reads
BEST = (REFERENCE, HIGH, LOW, "")
# What else stands in metrics.json, or beside metrics in tables: no metric can be called so.
NO_COLUMNS = (
    *("schema", "groups", "reasons", "gaps", "reference", "without_rewind", "in_fp32", "forget_composition"),
    *("n_train", "n_retain", "n_forget", "n_val", "n_test", "n_requests", "n_skipped_requests", "n_skipped_images"),
    *("train_acc", "worst_group", "worst_group_n", "equalized_odds_full_skipped", "mia_baseline", "mia_filled"),
    *("intervals", "equalized_odds_pair", "demographic_parity_pair"),
    *("mia_auc_sd", "mia_balanced_acc_sd", "mia_group_auc_sd", "mia_group_balanced_acc_sd"),
    *("mia_tpr_at_1_sd", "mia_tpr_at_01_sd", "mia_group_tpr_at_1_sd", "mia_group_tpr_at_01_sd"),
    *("dataset", "model", "image_size", "weights", "task", "ratio", "unlearning_ratio", "seed", "method", "label"),
    *("forget_seed", "train_seed", "reweight", "folder", "forget_group_names", "n", "main", "all"),
)


@dataclass(frozen=True)
class Column:
    """One metric; best: the value closest to the retrain reference, the highest, the lowest, or "" for neither.

    former: titles of earlier versions, which may still be typed.
    """

    key: str
    title: str
    what: str
    best: str = ""
    unit: str = "%"
    main: bool = False
    scale: float = 1.0  # what a stored value is multiplied with before it is shown
    decimals: int = 1
    former: tuple[str, ...] = ()

    @property
    def to_reference(self) -> bool:
        """Whether a better value is nearer to the row's own retrained model, so that rows of others do not compete."""
        distances = ("tow", "avg_gap", "privleak", "kl_", "ks_", "agreement_")
        return self.best == REFERENCE or self.key.startswith(distances)

    @property
    def distance(self) -> str:
        """What is a distance to the retrained model, with a noise floor: VALUE, DIFFERENCE, or "" for neither."""
        if self.best == REFERENCE or not (self.best or self.to_reference):
            return DIFFERENCE
        return VALUE if self.to_reference else ""


def _main(key: str, title: str, what: str, best: str = REFERENCE, former: tuple[str, ...] = ()) -> Column:
    return Column(key, title, what, best, main=True, former=former)


FOUND = "share of the forget set that is called member where"
VERSIONS = "attack on what changed since the original model, forget set against"
FORGET, TEST, GROUPS = "the forget set", "the test set", "the test samples of the forget groups"
COLUMNS = [  # and those that method.evaluation.registry adds
    _main("retain_acc", "RA", "accuracy on the retain set"),
    _main("forget_acc", "UA", "accuracy ON the forget set, not 100 minus it"),
    _main("test_acc", "TA", "accuracy on the test set"),
    _main("mia", "MIA", "share of the forget set that the published attack calls non-member"),
    _main("equalized_odds", "EO", "equalized odds difference"),
    _main("forget_group_acc", "GA", "test accuracy of the forget groups"),
    _main("tow", "ToW", "closeness to the retrained model in RA, UA and TA; 100 is best", HIGH),
    _main(
        "avg_gap",
        "Avg. Gap",
        "mean distance to the retrained model in RA, UA, TA, MIA, EO and GA; 0 is best",
        LOW,
        former=("Avg.Gap",),
    ),
    _main("worst_group_acc", "worst group", "lowest test accuracy of a group", HIGH, former=("worst-group",)),
    Column(
        "forget_group_acc_weighted",
        "GA (w)",
        "test accuracy of the forget groups, weighted by what is forgotten of each",
    ),
    Column("val_acc", "VA", "accuracy on the validation set"),
    Column("adjusted_acc", "adj.acc", "test accuracy of the groups, weighted by their shares in train", HIGH),
    Column("mean_group_acc", "mean group", "test accuracy of the groups, every group alike", HIGH),
    Column("equalized_odds_full", "EO full", "mean difference between any two sensitive values of a target", LOW),
    Column("demographic_parity", "DP", "largest difference between sensitive values in the share of a prediction", LOW),
    Column("ece", "ECE", "expected calibration error on the test set", LOW),
    Column("auroc", "AUROC", "mean over the targets of their AUC on the test set", HIGH),
    Column("mia_auc", "MIA AUC", f"balanced attack on the forget set, AUC; {GUESSING}"),
    Column(
        "mia_balanced_acc",
        "MIA bal",
        f"balanced attack on the forget set, accuracy; {GUESSING}",
    ),
    Column("mia_group_auc", "MIA AUC (g)", "the same with non-members of the forget groups alone, AUC"),
    Column("mia_group_balanced_acc", "MIA bal (g)", "the same with non-members of the forget groups alone, accuracy"),
    Column("mia_tpr_at_1", "TPR@1%", f"balanced attack, {FOUND} 1 % of the non-members are"),
    Column("mia_tpr_at_01", "TPR@0.1%", f"balanced attack, {FOUND} 0.1 % of the non-members are"),
    Column("mia_group_tpr_at_1", "TPR@1% (g)", f"group-aware attack, {FOUND} 1 % of the non-members are"),
    Column("mia_group_tpr_at_01", "TPR@0.1% (g)", f"group-aware attack, {FOUND} 0.1 % of the non-members are"),
    Column("privleak", "PrivLeak", "MIA AUC (g) below the retrained model's, as a share of what lies above that one"),
    Column("ks_to_retrain_forget", "KS F", f"largest gap between the losses' distributions of both on {FORGET}", LOW),
    Column("mia_retain_auc", "MIA AUC (R)", f"attack on the retain set within its groups, AUC; {GUESSING}"),
    Column("retain_exposure", "exposure R", "MIA AUC (R) minus that of the original model"),
    Column("versions_auc_retain", "versions AUC (R)", f"{VERSIONS} retained samples of its groups, AUC"),
    Column("versions_auc_held_out", "versions AUC (H)", f"{VERSIONS} held-out samples of its groups, AUC"),
    Column("mia_forest_auc", "forest AUC", "AUC of the published attack's forest, forget set against test set"),
    Column("kl_to_retrain_forget", "KL F", f"mean KL(retrain || model) on {FORGET}", LOW, "nats", decimals=3),
    Column("kl_to_retrain_test", "KL T", f"mean KL(retrain || model) on {TEST}", LOW, "nats", decimals=3),
    Column("kl_to_retrain_forget_groups", "KL G", f"mean KL(retrain || model) on {GROUPS}", LOW, "nats", decimals=3),
    Column("agreement_forget", "agree F", f"same prediction as the retrained model on {FORGET}", HIGH),
    Column("agreement_test", "agree T", f"same prediction as the retrained model on {TEST}", HIGH),
    Column("agreement_forget_groups", "agree G", f"same prediction as the retrained model on {GROUPS}", HIGH),
    Column("seconds", "seconds", "training time without evaluation", LOW, "s"),
    Column("speedup", "speed-up", "training time of the retrained model divided by this one's", HIGH, "x"),
    Column("peak_memory_bytes", "memory", "peak memory", LOW, "MiB", scale=2.0**-20, decimals=0),
]
MAIN = tuple(column for column in COLUMNS if column.main)
