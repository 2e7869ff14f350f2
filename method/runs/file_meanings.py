"""What the files in a run's folder hold, beside metrics.json: columns, arrays and fields (docs/metrics.md)."""

from method.runs.meanings import Meaning, percent

# history.csv. A method's own columns stand with the method.

HISTORY = {
    "epoch": Meaning("number of the epoch", limits="from 0"),
    "PHASE_loss": Meaning("mean over the steps of what a phase descends; empty in epochs without the phase"),
    "lr": Meaning("learning rate of the network at the epoch's last step; methods with epochs have it"),
    "seconds": Meaning("time of the epoch's phases, without validation and saving", "s", "0 and more"),
    "val_acc": percent("accuracy on V after the epoch: in pretrain and retrain, elsewhere with `--evaluate_every`"),
    "val_worst_group_acc": percent("lowest accuracy on V over the groups that V has; where `val_acc` is"),
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
