"""The words of the generated shop: categories with nouns, styles with adjectives, brands."""

from __future__ import annotations

CATEGORIES: dict[str, tuple[str, ...]] = {
    "Camping": ("tent", "sleeping bag", "lantern", "stove", "hammock", "rucksack", "flask"),
    "Kitchen": ("saucepan", "chef's knife", "teapot", "cutting board", "whisk", "casserole"),
    "Garden": ("watering can", "spade", "rose bush", "planter", "bird feeder", "deck chair"),
    "Books": ("novel", "atlas", "cookbook", "biography", "poetry collection", "field guide"),
    "Music": ("guitar", "record player", "headphones", "metronome", "violin", "keyboard"),
    "Cycling": ("road bike", "helmet", "pannier", "bicycle pump", "saddle", "bell"),
    "Toys": ("puzzle", "wooden train", "kite", "board game", "teddy bear", "building blocks"),
    "Winter": ("sledge", "wool scarf", "ski goggles", "thermal gloves", "ice skates", "parka"),
    "Beach": ("parasol", "swimming trunks", "surfboard", "beach towel", "snorkel", "sandals"),
    "Home office": ("desk lamp", "notebook", "office chair", "fountain pen", "monitor stand"),
    "Pets": ("dog leash", "cat tree", "aquarium", "hamster wheel", "pet bed", "parrot cage"),
    "Fitness": ("yoga mat", "kettlebell", "running shoes", "skipping rope", "rowing machine"),
}

# The category that people turn to after buying something in the first.
COMPANIONS: dict[str, str] = {
    "Camping": "Cycling",
    "Cycling": "Fitness",
    "Fitness": "Beach",
    "Beach": "Camping",
    "Kitchen": "Garden",
    "Garden": "Pets",
    "Pets": "Toys",
    "Toys": "Books",
    "Books": "Home office",
    "Home office": "Music",
    "Music": "Winter",
    "Winter": "Kitchen",
}

# Each style is a dimension of taste; its adjectives are how the catalogue speaks of it.
STYLES: dict[str, tuple[str, ...]] = {
    "plain": ("simple", "plain", "minimal"),
    "luxury": ("luxurious", "elegant", "premium"),
    "rustic": ("rustic", "handmade", "weathered"),
    "modern": ("modern", "sleek", "smart"),
    "vintage": ("vintage", "antique", "retro"),
    "colourful": ("colourful", "bright", "rainbow"),
    "compact": ("compact", "folding", "pocket-sized"),
    "sturdy": ("sturdy", "heavy-duty", "rugged"),
}

BRANDS = ("Alder", "Brook & Sons", "Cinder", "Dunlin", "Esker", "Fennel", "Gorse", "Hazel")
COUNTRIES = ("Austria", "Chile", "Finland", "Japan", "Kenya", "Portugal")
AGE_GROUPS = ("18-24", "25-34", "35-49", "50-64", "65+")
