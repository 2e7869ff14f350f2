"""Bad input: label files, custom folders and deletion requests."""

import os

from bad_input import BIRDS, SMALL, Place, case, typed
from folders import make_celeba

# Labels.


@case("no data folder")
def _(place: Place) -> str:
    return f"--method pretrain {SMALL} --data_dir {place.tmp / 'empty'}"


@case("no label file")
def _(place: Place) -> str:
    (place.own_data() / "metadata.csv").unlink()
    return f"--method pretrain {SMALL}"


def labels(place: Place, old: str, new: str, command: str = f"--method pretrain {SMALL}") -> str:
    """Waterbirds' labels with one text changed."""
    own = place.tmp / "data" / BIRDS
    file = (own if own.exists() else place.own_data()) / "metadata.csv"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    return command


case("labels without a column")(lambda place: labels(place, "place,", "where,"))
case("a label that is none")(lambda place: labels(place, ".jpg,0,0,0,", ".jpg,2,0,0,"))
case("a row with a field too few")(lambda place: labels(place, ".jpg,0,0,0,", ".jpg,0,0,"))
case("an image in two rows")(lambda place: labels(place, "002.Species/Bird_0002", "001.Species/Bird_0001"))
case("a path that leaves the data folder")(lambda place: labels(place, "002.Species/", "../002.Species/"))
case("a path longer than a system has")(lambda place: labels(place, "002.Species/", f"{'x' * 130_000}/"))
case("labels wrong in several ways")(
    lambda place: labels(place, ".jpg,0,0,0,", ".jpg,2,0,0,") and labels(place, ".jpg,1,0,", ".jpg,9,0,")
)
case("labels in another encoding")(lambda place: labels(place, "img_id", "img_id") and not_utf8(place))


def not_utf8(place: Place) -> str:
    file = place.data / BIRDS / "metadata.csv"
    file.write_bytes(b"\xff\xfe" + file.read_bytes())
    return f"--method pretrain {SMALL}"


@case("labels that are a named pipe")
def _(place: Place) -> str:
    file = place.own_data() / "metadata.csv"
    file.unlink()
    os.mkfifo(file)
    return f"--method pretrain {SMALL}"


@case("an image in two rows of CelebA's partition")
def _(place: Place) -> str:
    folder = make_celeba(place.tmp / "data")
    with (folder / "list_eval_partition.txt").open("a") as file:
        file.write("000001.jpg 2\n")
    return "--method pretrain --dataset celeba"


@case("ages that a spreadsheet program turned into dates")
def _(place: Place) -> str:
    file = place.own_fairface() / "fairface_label_train.csv"
    file.write_text(file.read_text().replace(",3-9,", ",03-Sep,"))
    return "--method pretrain --dataset fairface"


# A custom folder.


def custom(place: Place, old: str = "", new: str = "", flags: str = "", every: bool = False) -> str:
    """A command on a copy of the hand-made folder whose metadata.csv has one text, or every such text, changed."""
    file = place.own_custom() / "metadata.csv"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, -1 if every else 1))
    return f"--method pretrain --dataset custom --data_dir {file.parent} --model small_cnn --no-pretrained {flags}"


@case("a custom folder without its metadata.csv")
def _(place: Place) -> str:
    command = custom(place)
    (place.data / "my_data" / "metadata.csv").unlink()
    return command


FIRST = "faces/0.jpg,train,Female,Black,20"  # line 2
case("a custom column that is not there")(lambda place: custom(place, flags="--target gender"))
case("a custom column that stands twice")(lambda place: custom(place, ",age", ",target"))
case("a custom column that is meant twice")(lambda place: custom(place, flags="--sensitive target,age"))
case("no name of a custom column")(lambda place: custom(place, flags="--sensitive age,"))
case("a custom row with a field too few")(lambda place: custom(place, FIRST, "faces/0.jpg,train,Female,Black"))
case("a split that is none")(lambda place: custom(place, FIRST, FIRST.replace("train", "dev")))
case("an empty cell")(lambda place: custom(place, FIRST, FIRST.replace("Female", "")))
case("an integer among names")(lambda place: custom(place, FIRST, FIRST.replace("Black", "1")))
case("a word for a value that is missing")(lambda place: custom(place, FIRST, FIRST.replace("Black", "N/A")))
case("one value in two spellings")(lambda place: custom(place, FIRST, FIRST.replace("Female", "female\u200b")))
case("one number in two spellings")(lambda place: custom(place, ",20\n", ",20.0\n", "--sensitive age"))
case("a decimal among integers")(lambda place: custom(place, ",20\n", ",20.5\n", "--sensitive age"))
case("a custom image in two rows")(lambda place: custom(place, "faces/1.jpg", "faces/0.jpg"))
case("an absolute path in a custom row")(lambda place: custom(place, "faces/0.jpg", "/faces/0.jpg"))
case("a path that leaves the custom folder")(lambda place: custom(place, "faces/0.jpg", "../faces/0.jpg"))
case("a path with backslashes")(lambda place: custom(place, "faces/0.jpg", "faces\\0.jpg"))
case("one target value in all rows")(lambda place: custom(place, "Female", "Male", every=True))
case("custom labels without val rows")(lambda place: custom(place, ",val,", ",train,", every=True))
case("a column with a value for every row")(lambda place: custom(place) and ids(place))
case("a slash in a crossed value")(lambda place: custom(place, "Black", "Black/brown", "--sensitive sensitive,age"))
case("two custom groups of one name")(
    lambda place: custom(place, FIRST, f'{FIRST}\nf,0,"Male, x",y,1\ng,0,Male,"x, y",1')
)
case("a custom image that is missing")(lambda place: custom(place, "faces/0.jpg", "faces/absent.jpg"))
FORGET = "--method miu --dataset custom --data_dir {0} --model small_cnn --no-pretrained --forget_groups {1}"


def grouped(title: str, groups: str, flags: str = "") -> None:
    """A case of groups to forget on the hand-made folder."""
    case(title)(lambda place: FORGET.format(place.shared / "data" / "my_data", f"{groups} {flags}"))


grouped("a group of custom data in another spelling", "FEMALE:Black")
grouped("a group of custom data by its number", "Female:0")
grouped("a group of custom data that is none", "Female:Green")
grouped("a number for the first of two numbers", "Female:0", "--sensitive age")
typed("a custom column for another data set", "--method pretrain --dataset celeba --target Smiling")
typed("a name of custom data that is no folder's", "--method pretrain --dataset custom --dataset_name ..")
typed("custom data without groups to forget", "--method miu --dataset custom")


def ids(place: Place) -> str:
    """The command on a table with another target for every row."""
    file = place.data / "my_data" / "metadata.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([f"{head},id", *(f"{row},{number}" for number, row in enumerate(rows))]) + "\n")
    return f"--method pretrain --dataset custom --data_dir {file.parent} --target id"


typed("a ratio that forgets nobody", f"--method retrain {SMALL} --unlearning_ratio 0.05")


# Deletion requests.


def requested(title: str, text: str, name: str = "requests.txt", more: str = "") -> None:
    """A case of a list with this text."""

    @case(title)
    def _(place: Place) -> str:
        (place.tmp / name).write_text(text)
        return f"--method retrain {SMALL} --forget_list {place.tmp / name} {more}"


BIRD = "{0:03d}.Species/Bird_{0:04d}.jpg".format
MIXED = "\n".join([BIRD(1), BIRD(2), "row:0", BIRD(61), BIRD(77), *(f"gone{number}.jpg" for number in range(12))])


@case("a forget list that is not there")
def _(place: Place) -> str:
    return f"--method retrain {SMALL} --forget_list {place.tmp / 'absent.txt'}"


requested("a forget list that names nobody", "# none in June\n")
requested("a forget list that is a CSV file without a header", f"{BIRD(1)}\n", "requests.csv")
requested("a forget list with several columns, none of them known", f"ticket,face\n1,{BIRD(1)}\n", "requests.csv")
requested("a column that the forget list does not have", "file\n1\n", "requests.csv", "--forget_list_column image")
requested("names that are unknown, there twice, or not in train", MIXED)
requested("a forget list of unknown names alone", "gone.jpg\n", more="--skip_unknown")


@case("a name that two images have")
def _(place: Place) -> str:
    (place.tmp / "requests.txt").write_text("1.jpg\n5\n")
    return f"--method retrain --dataset fairface --forget_list {place.tmp / 'requests.txt'}"


@case("a comment that is the name of an image")
def _(place: Place) -> str:
    (place.tmp / "requests.txt").write_text(f"#3.jpg\n{BIRD(1)}\n")
    return labels(
        place,
        "002.Species/Bird_0002",
        "002.Species/#3",
        f"--method retrain {SMALL} --forget_list {place.tmp}/requests.txt",
    )


requested("a forget list of all of train", "\n".join(map(BIRD, range(1, 61))))
requested("a ratio of a forget list", BIRD(1), more="--unlearning_ratio 0.5")
requested("numbers in a forget list", "1\n4\n")
requested("a row that is none", "row:92\n")
requested("an id that the labels do not have", "img_id\n2\n93\n", "requests.csv")
requested("a column that no labels have", "photo\nBird_0001\n", "requests.csv")
requested("a row in letters", f"index\n{BIRD(1)}\n", "requests.csv")
requested("a first name in place of a header", "Bird_0001\nBird_0002\nBird_0003\n", "requests.csv")
requested("a comment in a CSV file", f"# June\nfile\n{BIRD(1)}\n", "requests.csv")
requested("a forget list and a group", BIRD(1), more="--split_number 0")
