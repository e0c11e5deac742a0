#!/usr/bin/env python3
"""Makes the demo's data: emoji in three drawing styles, one folder a style, `train|test/class/concept_codepoints.ext`.

Usage: make.py [--packages DIR]

Needs Python 3.9 and Pillow, and `npm` where the three packages are not in DIR yet. The packages are pinned by version
and by the sha512 that the registry states. Google's and Twitter's files are copied as they are; Fluent's, 256 px large,
are scaled to the 64 px of the other two, so that resolution is no part of the shift between the styles.

What a class holds, and which emoji are one concept, is decided here and nowhere else. Whether a concept is trained on
or held out follows from the hash of its name.
"""

import argparse
import base64
import collections
import hashlib
import io
import json
import pathlib
import shutil
import subprocess
import tarfile

from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent

PACKAGES = {
    "google": (
        "emoji-datasource-google@16.0.0",
        "sha512-ZRexfzs7MVoLnmzZmNsO4TKhnAJp5D++Vm6PpUpH/jEQQlemp3l88CjZ+DoZ2faM9R4QxZkOPJCoT8DlPhfQ3A==",
    ),
    "twitter": (
        "emoji-datasource-twitter@16.0.0",
        "sha512-7F+uCuHH+7Qnrc15P5tnbvKkg9E6tlzi4MnT2uW1RlN4pLYTza6cP/dstIfSDMtpjFLWuZewWg8jBbuL2eyELQ==",
    ),
    "fluent": (
        "@lobehub/fluent-emoji-3d@1.1.0",
        "sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
    ),
}

# A class is some of emoji.json's subcategories and single emoji, less those that do not look like the class.
CLASSES = {
    "bird": (["animal-bird"], "feather wing hatching_chick phoenix"),
    "building": (
        ["place-building", "place-religious"],
        "building_construction bricks rock wood kaaba statue_of_liberty",
    ),
    "clothing": (["clothing"], "folding_hand_fan shopping_bags hair_pick prayer_beads lipstick ring gem"),
    "drink": (["drink", "jar", "amphora"], "ice_cube"),
    "face": (
        ["face-smiling", "face-affection", "face-tongue", "face-hand", "face-neutral-skeptical", "face-sleepy",
         "face-unwell", "face-hat", "face-glasses", "face-concerned"],
        "",
    ),
    "flag": (["country-flag"], "flag-cp flag-mf flag-bv flag-sj flag-um flag-hm flag-td flag-mc"),
    "hand": (["hand-fingers-open", "hand-fingers-partial", "hand-single-finger", "hand-fingers-closed", "hands"], ""),
    "mammal": (["animal-mammal"], "pig_nose feet monkey_face"),
    "meal": (["food-prepared", "food-asian"], "butter salt chopsticks takeout_box"),
    "person": (["person", "person-gesture", "person-role", "person-fantasy"], "troll"),
    "plant": (
        ["plant-flower", "plant-other", "christmas_tree", "tanabata_tree", "bamboo"],
        "rosette empty_nest nest_with_eggs mushroom",
    ),
    "produce": (["food-fruit", "food-vegetable"], ""),
    "sport": (["sport"], "running_shirt_with_sash martial_arts_uniform diving_mask"),
    "tool": (
        ["tool", "writing", "scissors", "straight_ruler", "triangular_ruler", "paperclip", "pushpin", "hocho"],
        "bomb shield compression link chains memo bow_and_arrow magnet",
    ),
    "vehicle": (
        ["transport-ground", "transport-water", "transport-air"],
        "station manual_wheelchair motorized_wheelchair skateboard roller_skate busstop motorway "
        "railway_track oil_drum fuelpump wheel rotating_light traffic_light vertical_traffic_light "
        "octagonal_sign construction anchor ring_buoy parachute seat satellite",
    ),
}

# Views, directions, ages or genders of one thing: the first name stands for all of its line.
SAME = [
    "adult child baby boy girl man woman older_adult older_man older_woman",
    "airplane small_airplane airplane_departure airplane_arriving",
    "apple green_apple",
    "bearded_person man_with_beard woman_with_beard",
    "beer beers",
    "bus oncoming_bus",
    "camel dromedary_camel",
    "car oncoming_automobile blue_car",
    "cat cat2 black_cat",
    "cow cow2 ox water_buffalo",
    "dog dog2 guide_dog service_dog",
    "facepunch fist left-facing_fist right-facing_fist",
    "hammer pick hammer_and_pick hammer_and_wrench",
    "hand raised_back_of_hand raised_hand_with_fingers_splayed spock-hand",
    "horse racehorse",
    "house house_buildings derelict_house_building house_with_garden",
    "leftwards_hand rightwards_hand leftwards_pushing_hand rightwards_pushing_hand",
    "man_with_turban man-wearing-turban woman-wearing-turban",
    "mouse mouse2 rat",
    "palm_up_hand palm_down_hand",
    "person_in_tuxedo man_in_tuxedo woman_in_tuxedo",
    "person_with_blond_hair blond-haired-woman blond-haired-man",
    "person_with_crown prince princess",
    "pig pig2",
    "point_left point_right point_up_2 point_down point_up index_pointing_at_the_viewer",
    "police_car oncoming_police_car",
    "pregnant_person pregnant_woman pregnant_man breast-feeding woman_feeding_baby man_feeding_baby "
    "person_feeding_baby",
    "rabbit rabbit2",
    "rice_ball rice_cracker",
    "rose wilted_flower",
    "santa mrs_claus mx_claus",
    "shirt womans_clothes",
    "steam_locomotive railway_car bullettrain_side bullettrain_front train2 metro light_rail tram "
    "monorail mountain_railway train",
    "taxi oncoming_taxi",
    "thumb +1 -1",
    "tiger tiger2",
    "truck articulated_lorry",
]

CONCEPTS_A_CLASS = 48
IMAGES_A_CONCEPT = 2
HELD_OUT = 0.28
SIDE = 64


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--packages", type=pathlib.Path, default=pathlib.Path("emoji-packages"), metavar="DIR")
    folder = parser.parse_args().packages
    styles = {name: read_package(folder, *package) for name, package in PACKAGES.items()}
    for style in styles:
        shutil.rmtree(HERE / style, ignore_errors=True)
    for name, concepts in classes(styles).items():
        held_out = set(sorted(concepts, key=digest)[: round(HELD_OUT * len(concepts))])
        for concept, codes in concepts.items():
            if concept in held_out:
                for style, images in styles.items():
                    write(images, style, "test", name, concept, codes)
            else:
                write(styles["google"], "google", "train", name, concept, codes)


def read_package(folder, package, integrity):
    """The package's files that matter here: emoji.json's entries under `None`, images by their code points."""
    name = package.rsplit("@", 1)[0].lstrip("@").replace("/", "-")
    archive = folder / f"{name}-{package.rsplit('@', 1)[1]}.tgz"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "pack", package, "--pack-destination", str(folder)], check=True)
    content = archive.read_bytes()
    found = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
    if found != integrity:
        raise SystemExit(f"{archive} has {found}, expected {integrity}: delete it and run this again")
    files = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar:
            path = pathlib.PurePosixPath(member.name)
            if path.name == "emoji.json":
                files[None] = json.load(tar.extractfile(member))
            elif path.parent.name in ("64", "assets") and path.suffix in (".png", ".webp"):
                files[codes_of(path.stem)] = tar.extractfile(member).read()
    return files


def codes_of(stem):
    """Code points as all three packages would write them: no variation selector, no leading zeros."""
    return "-".join(code.lstrip("0") for code in stem.lower().split("-") if code != "fe0f")


def classes(styles):
    """Class to concept to the code points of its images, all of them present in every style."""
    entries = sorted(styles["google"][None], key=lambda entry: entry["sort_order"])
    return {name: chosen(concepts(entries, styles, *what)) for name, what in CLASSES.items()}


def concepts(entries, styles, taken, left_out):
    """Every concept of a class with the images that are picked for it."""
    named = {}
    for names in SAME:
        first, *others = names.split()
        named.update((other, first) for other in others)
    grouped = collections.defaultdict(list)
    by_shape = {}
    for entry in entries:
        short = entry["short_name"]
        if not {entry["subcategory"], short} & set(taken) or short in left_out.split():
            continue
        concept = by_shape.setdefault(genderless(codes_of(entry["unified"])), named.get(short, short))
        variants = [entry] + list(entry.get("skin_variations", {}).values())
        images = [codes_of(variant["image"].rsplit(".", 1)[0]) for variant in variants if drawn(variant)]
        grouped[concept.replace("_", "-")].append([codes for codes in images if everywhere(styles, codes)])
    return {concept: picked(members) for concept, members in grouped.items() if any(members)}


def genderless(codes):
    """The same for a profession's person, man and woman."""
    parts = codes.removesuffix("-200d-2642").removesuffix("-200d-2640").split("-")
    return "-".join("1f9d1" if part in ("1f468", "1f469") and len(parts) > 1 else part for part in parts)


def drawn(variant):
    return variant["has_img_google"] and variant["has_img_twitter"]


def everywhere(styles, codes):
    return all(codes in images for images in styles.values())


def picked(members):
    """Some images of a concept: the plain first member, then others by hash, so that tones and genders mix."""
    every = [codes for member in members for codes in member]
    return every[:1] + sorted(every[1:], key=digest)[: IMAGES_A_CONCEPT - 1]


def chosen(concepts):
    """At most so many concepts, by hash: a class with many must not outweigh the others."""
    kept = set(sorted(concepts, key=lambda concept: digest("class " + concept))[:CONCEPTS_A_CLASS])
    return {concept: codes for concept, codes in concepts.items() if concept in kept}


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def write(images, style, part, name, concept, codes):
    folder = HERE / style / part / name
    folder.mkdir(parents=True, exist_ok=True)
    for code in codes:
        if style == "fluent":
            small = Image.open(io.BytesIO(images[code])).convert("RGBA").resize((SIDE, SIDE), Image.LANCZOS)
            small.save(folder / f"{concept}_{code}.webp", quality=90, method=6)
        else:
            (folder / f"{concept}_{code}.png").write_bytes(images[code])


if __name__ == "__main__":
    main()
