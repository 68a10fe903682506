"""Subsets of ImageNet that the field reports on, and where their images are found.

The class lists, each in its published order, which is the order of the labels:

- imagenette, imagewoof: fast.ai's imagenette, https://github.com/fastai/imagenette
- imagefruit, imagemeow, imagesquawk, imageyellow: Cazenavette et al., "Dataset distillation by
  matching training trajectories", CVPR 2022
- imagenet100: Tian, Krishnan and Isola, "Contrastive multiview coding", ECCV 2020
- imagenet10: its first 10, after Kim et al., "Dataset condensation via efficient synthetic-data
  parameterization", ICML 2022
"""

from __future__ import annotations

from pathlib import Path

from m3d_sklearn.datasets._dataset import Dataset
from m3d_sklearn.datasets._folder import list_images, read_images
from m3d_sklearn.datasets._settings import Settings

__all__ = ["SUBSETS", "read"]

DEFAULT_SIZE = 128

IMAGENET100 = """
n02869837 n01749939 n02488291 n02107142 n13037406 n02091831 n04517823 n04589890 n03062245 n01773797
n01735189 n07831146 n07753275 n03085013 n04485082 n02105505 n01983481 n02788148 n03530642 n04435653
n02086910 n02859443 n13040303 n03594734 n02085620 n02099849 n01558993 n04493381 n02109047 n04111531
n02877765 n04429376 n02009229 n01978455 n02106550 n01820546 n01692333 n07714571 n02974003 n02114855
n03785016 n03764736 n03775546 n02087046 n07836838 n04099969 n04592741 n03891251 n02701002 n03379051
n02259212 n07715103 n03947888 n04026417 n02326432 n03637318 n01980166 n02113799 n02086240 n03903868
n02483362 n04127249 n02089973 n03017168 n02093428 n02804414 n02396427 n04418357 n02172182 n01729322
n02113978 n03787032 n02089867 n02119022 n03777754 n04238763 n02231487 n03032252 n02138441 n02104029
n03837869 n03494278 n04136333 n03794056 n03492542 n02018207 n04067472 n03930630 n03584829 n02123045
n04229816 n02100583 n03642806 n04336792 n03259280 n02116738 n02108089 n03424325 n01855672 n02090622
""".split()  # noqa: SIM905 - a block of ids is easier to compare with the source

SUBSETS: dict[str, dict[str, str]] = {
    "imagenette": {
        "n01440764": "tench",
        "n02102040": "English springer",
        "n02979186": "cassette player",
        "n03000684": "chain saw",
        "n03028079": "church",
        "n03394916": "French horn",
        "n03417042": "garbage truck",
        "n03425413": "gas pump",
        "n03445777": "golf ball",
        "n03888257": "parachute",
    },
    "imagewoof": {
        "n02096294": "Australian terrier",
        "n02093754": "Border terrier",
        "n02111889": "Samoyed",
        "n02088364": "beagle",
        "n02086240": "Shih-Tzu",
        "n02089973": "English foxhound",
        "n02087394": "Rhodesian ridgeback",
        "n02115641": "dingo",
        "n02099601": "golden retriever",
        "n02105641": "Old English sheepdog",
    },
    "imagefruit": {
        "n07753275": "pineapple",
        "n07753592": "banana",
        "n07745940": "strawberry",
        "n07747607": "orange",
        "n07749582": "lemon",
        "n07768694": "pomegranate",
        "n07753113": "fig",
        "n07720875": "bell pepper",
        "n07718472": "cucumber",
        "n07742313": "Granny Smith",
    },
    "imageyellow": {
        "n02206856": "bee",
        "n12057211": "yellow lady's slipper",
        "n07753592": "banana",
        "n07749582": "lemon",
        "n12144580": "corn",
        "n04146614": "school bus",
        "n03530642": "honeycomb",
        "n02129165": "lion",
        "n01773157": "black and gold garden spider",
        "n01531178": "goldfinch",
    },
    "imagemeow": {
        "n02123045": "tabby",
        "n02123159": "tiger cat",
        "n02123394": "Persian cat",
        "n02123597": "Siamese cat",
        "n02124075": "Egyptian cat",
        "n02129165": "lion",
        "n02129604": "tiger",
        "n02128925": "jaguar",
        "n02128757": "snow leopard",
        "n02127052": "lynx",
    },
    "imagesquawk": {
        "n01806143": "peacock",
        "n02007558": "flamingo",
        "n01818515": "macaw",
        "n02051845": "pelican",
        "n02056570": "king penguin",
        "n01614925": "bald eagle",
        "n01843383": "toucan",
        "n01518878": "ostrich",
        "n01860187": "black swan",
        "n01819313": "sulphur-crested cockatoo",
    },
    "imagenet10": {wnid: wnid for wnid in IMAGENET100[:10]},
    "imagenet100": {wnid: wnid for wnid in IMAGENET100},
}
"""WordNet id to class name, in the order of the labels; imagenet10 and 100 go by their ids."""


def read(name: str, settings: Settings) -> Dataset:
    """Read one of `SUBSETS` from a folder of ImageNet's layout below root.

    Raises
    ------
    FileNotFoundError
        If no folder has the subset's classes.
    ValueError
        If an image cannot be read, or test_size is given.
    """
    settings.refuse("test_size", f"{name}, which has its own test rows in val")
    classes = SUBSETS[name]
    base = _base_folder(name, settings.root)
    files, y_train = list_images(base / "train", classes)
    test_files, y_test = list_images(base / "val", classes)
    size = settings.image_size or DEFAULT_SIZE
    X_train, X_test = read_images(files, test_files, image_size=size)
    names = tuple(classes.values())
    return Dataset(name, X_train, y_train, X_test, y_test, names, f"folder {base.name}")


def _base_folder(name: str, root: Path) -> Path:
    """The first folder that holds every class of the subset in train and in val."""
    missing: dict[str, list[str]] = {}
    # fast.ai's archives unpack to imagenette2, imagenette2-320 and imagenette2-160.
    for base in ("imagenet", name, f"{name}2", f"{name}2-320", f"{name}2-160"):
        wanted = [f"{part}/{wnid}" for part in ("train", "val") for wnid in SUBSETS[name]]
        missing[base] = [path for path in wanted if not (root / base / path).is_dir()]
        if not missing[base]:
            return root / base
    best = min(missing, key=lambda base: len(missing[base]))
    lacks = missing[best]
    raise FileNotFoundError(
        f"{name} needs ImageNet's folders train/WNID and val/WNID of its {len(SUBSETS[name])} "
        f"classes in {root / 'imagenet'}, or in {root / name}; {root / best} lacks "
        f"{', '.join(lacks[:3])}{' and so on' if len(lacks) > 3 else ''}. They are not downloaded "
        "here: get ImageNet (ILSVRC 2012) from https://image-net.org, or imagenette and imagewoof "
        "from https://github.com/fastai/imagenette, and unpack it there. root= or the environment "
        "variable M3D_DATA names another folder."
    )
