"""Every flag of the published code's parser as it may be typed, with what comes of it; docs/published_flags.md from it.

Made anew by `PYTHONPATH=.:tests python tests/published_flags.py`.
"""

from dataclasses import dataclass, field
from typing import Any

from cli import ROOT

PAGE = ROOT / "docs" / "published_flags.md"


@dataclass(frozen=True)
class Case:
    """typed: flags of the published code; method: with which; sets: the keys that they set; told: or the error."""

    typed: str
    sets: dict[str, Any] = field(default_factory=dict)
    told: str = ""
    method: str = "scrub"


def works(typed: str, method: str = "scrub", **sets: Any) -> Case:
    """A flag that sets these keys, or none where what it asks for is so anyway."""
    return Case(typed, sets, method=method)


def refused(typed: str, told: str) -> Case:
    """A flag that there is nothing for, and the sentence that says what to use."""
    return Case(typed, told=f"{typed}: {told}")


NAMED = "a run is named after what it is; --tag WORD adds a word"
FOLDER_OF_IMAGES = "a folder of images with a table of labels is read by --dataset custom"
TEXTS = "texts are not for this program; "
UNREAD = "the published code reads it nowhere; leave it out"
TABLE = "every run has its metrics.json; python -m scripts.report output --each --format csv makes a table of them"
CURVES = "every run has a row an epoch in its history.csv, with --evaluate_every 1 the accuracy on val too"
ORIGINAL = "give the run to start from, such as --original output/celeba/resnet18/pretrain_dro_0"
MADE_IN_ANOTHER_WAY = "expected retrain or target_reweight_retrain; give the folder of another run with --reference"

METHODS = {
    **{name: name for name in ("miu", "bad_teacher", "ft", "ga", "iu", "l1_sparse", "pretrain", "retrain", "rl")},
    "boundary_exp": "boundary_expand",
    "boundary_sh": "boundary_shrink",
    **{name: name for name in ("salun", "scrub", "ssd")},
}
CASES = [
    # Logging.
    refused("--name test", NAMED),
    refused("--description why", NAMED),
    # Model.
    works("--model resnet18", model="resnet18"),
    works("--model vit_base_patch16_224", model="timm/vit_base_patch16_224"),
    refused("--model bert", TEXTS + "--model timm/NAME is any network for images of timm's"),
    works("--pretrained True", weights="imagenet"),
    works("--pretrained False", weights="none"),
    works("--checkpoint_dir mine/", checkpoint_dir="mine/"),
    works("--pretrain_name pretrain"),
    refused("--pretrain_name dro_pretrain", ORIGINAL),
    # Data.
    works("--dataset celeba", dataset="celeba"),
    works("--dataset fairface", dataset="fairface"),
    works("--dataset waterbird", dataset="waterbird"),
    refused("--dataset imagenetr", FOLDER_OF_IMAGES),
    refused("--dataset multinli", TEXTS + "a folder of images is read by --dataset custom"),
    works("--data_dir /data", data_dir="/data"),
    works("--download False"),
    refused("--download True", "nothing is downloaded; docs/data.md says where each data set comes from"),
    # Task.
    *(Case(f"--method {typed}", {"method": name}, method=name) for typed, name in METHODS.items()),
    works("--rob_approach none"),
    works("--rob_approach dro", rob_approach="dro"),
    works("--rob_approach subsample", rob_approach="subsample"),
    works("--rob_approach dro", "miu", rob_approach="dro", reweight=False),
    works("--rob_approach target_reweight", reweight=True),
    refused(
        "--rob_approach target_dro",
        "the published code has no such method either; give dro, subsample or target_reweight",
    ),
    works("--unlearning_type bias"),
    works("--unlearning_type random", unlearning_type="random"),
    works("--unlearning_ratio 0.9", unlearning_ratio=0.9),
    works("--split_number 0"),
    works("--multi_group 0"),
    works("--multi_group 3 --dataset fairface", dataset="fairface", multi_group=3),
    refused("--tmlr_rebuttal_exp", "give the pairs to forget by name, --forget_groups 'TARGET:SENSITIVE, ...'"),
    # Ablations.
    works("--ablate_rw", "miu", reweight=False),
    works("--ablate_alignment", "miu", miu_ablate_alignment=True),
    works("--ablate_unlearn", "miu", miu_ablate_unlearn=True),
    works("--ablate_retain", "miu", miu_ablate_retain=True),
    # Files and runs.
    works("--const_file FILE", lr=0.02, max_grad_norm=0.0, scheduler="exponential", use_train_aug=False),
    works("--retrain_name retrain", reference="retrain"),
    works("--retrain_name target_reweight_retrain", reference="retrain_reweight"),
    refused("--retrain_name dro_retrain", MADE_IN_ANOTHER_WAY),
    # MIU.
    works("--control_bias True", "miu"),
    refused(
        "--control_bias False", "MIU without REWEIGHT and calibration is --ablate_rw --ablate_alignment"
    ),
    works("--mine_lr 0.5", "miu", miu_mine_lr=0.5),
    works("--lambda_mi 7", "miu", miu_lambda_mi=7.0),
    # The other methods.
    works("--l1_penalty 0.25", "l1_sparse", l1_sparse_penalty=0.25),
    works("--alpha_hessian 5", "iu", iu_scale=5.0),
    works("--alpha_scrub 0.5", scrub_alpha=0.5),
    works("--gamma_scrub 0.5", scrub_gamma=0.5),
    works("--forgetting_epochs 3", forget_epochs=3),
    works("--temperature_scrub 2", scrub_temperature=2.0),
    works("--batch_size_retain 16", scrub_batch_size_retain=16),
    works("--use_train_aug True"),
    works("--use_train_aug False", use_train_aug=False),
    works("--saliency_threshold 0.25", "salun", salun_saliency_ratio=0.25),
    works("--ssd_dampening_constant 0.1", "ssd", ssd_dampening=0.1),
    works("--ssd_selection_weighting 0.1", "ssd", ssd_alpha=0.1),
    works("--dro_lr 0.5 --rob_approach dro", rob_approach="dro", dro_step_size=0.5),
    works("--compute_freq False"),
    refused("--compute_freq True", UNREAD),
    works("--train_aug_group True"),
    refused("--train_aug_group False", UNREAD),
    # Training.
    works("--batch_size 256", batch_size=256),
    works("--epochs 3", epochs=3),
    works("--lr 0.5", lr=0.5),
    works("--clip_grad 0.5", max_grad_norm=0.5),
    works("--momentum 0.5", momentum=0.5),
    works("--weight_decay 0.5", weight_decay=0.5),
    works("--optimizer sgd"),
    works("--optimizer adam", optimizer="adam"),
    works("--optimizer adamw", optimizer="adamw"),
    works("--amsgrad False"),
    works("--amsgrad True --optimizer adamw", optimizer="adamw", amsgrad=True),
    works("--scheduler const", scheduler="const"),
    works("--scheduler step --step_size 3 --gamma 0.5", scheduler="step", lr_step_epochs=3, lr_gamma=0.5),
    works("--scheduler multistep --milestones 3 5", scheduler="multistep", lr_milestones="3,5"),
    works("--scheduler exp", scheduler="exponential"),
    works("--scheduler linear", scheduler="linear"),
    works("--scheduler cosine --t_max 4", lr_cosine_epochs=4),
    works("--warmup_epochs 2", warmup_epochs=2),
    works("--evaluate_every 1", evaluate_every=1),
    works("--dtype bfloat16", precision="bf16"),
    works("--dtype float32", precision="fp32"),
    # Reading images.
    works("--seed 3", seed=3),
    works("--num_workers 8", num_workers=8),
    works("--drop_last False"),
    refused(
        "--drop_last True", "the last batch of a pass is trained on too, as it is by default there; leave it out"
    ),
    works("--pin_memory True"),
    refused("--pin_memory False", "memory is pinned where the device gains by it; leave it out"),
    # The rest.
    works("--debug", epochs=1, tag="debug"),
    works("--debug", "ssd", tag="debug"),
    works("--save True"),
    refused("--save False", "a run is its folder; give --store_dir FOLDER, and remove that afterwards"),
    works("--store_dir mine/", store_dir="mine/"),
    works("--wandb", wandb=True),
    works("--project mine", wandb_project="mine"),
    refused("--entity me", "set WANDB_ENTITY in the environment"),
    refused("--offline", "set WANDB_MODE=offline in the environment"),
    refused("--store_csv", TABLE),
    refused("--csv_store_dir mine/", TABLE),
    refused("--store_curves", CURVES),
    refused("--curves_store_dir mine/", CURVES),
]  # fmt: skip

HEAD = """# The published command lines

Every flag of the parser of *Group-robust Machine Unlearning*'s code, and what comes of it here. It works, or it is an
error that says what to use. `tests/test_published_flags.py` tries every line, and this page is made from it by
`PYTHONPATH=.:tests python tests/published_flags.py`.

A flag of another method is an error here, where the published parser takes it and nothing reads it. So is a flag of a
scheduler or an optimiser that the run does not use. What the flags mean is on [the page of all flags](cli.md).

| typed | with `--method` | comes to |
|---|---|---|
"""
TAIL = """
What differs though the flag is the same:

- `--clip_grad` and `--warmup_epochs` count in every method here, there in pretraining and retraining alone. A
  `--const_file` sets them for these two alone, so that its runs are those of the published code.
- A schedule begins where the warm-up ends, as there. `linear` and `cosine` go over the epochs that are left then; there
  `linear` goes over all epochs.
- `--rob_approach dro` is group DRO over the retain set: [what it weighs](methods.md#group-dro-and-subsampling). The
  published code compares its runs with the retrained model with REWEIGHT; here that is `--reference retrain_reweight`.
- `--debug` makes a whole run of one epoch, apart from the others; there it stops after one batch and saves nothing.
"""


def page() -> str:
    """docs/published_flags.md."""
    rows = (f"| `{one.typed}` | {one.method} | {_outcome(one)} |\n" for one in CASES)
    return HEAD + "".join(rows) + TAIL


def _outcome(case: Case) -> str:
    if case.told:
        return f"error: {case.told.removeprefix(case.typed + ': ')}"
    values = (
        f"`{key}: {str(value).lower() if isinstance(value, bool) else value}`" for key, value in case.sets.items()
    )
    return ", ".join(values) or "the default"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
