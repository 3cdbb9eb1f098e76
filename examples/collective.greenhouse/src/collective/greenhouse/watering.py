"""Watering: what is done in the background, and the diary that it is noted in."""

from persistent.list import PersistentList
from zope.annotation.interfaces import IAnnotations


#: Key of the annotation with the diary of a greenhouse.
DIARY = "collective.greenhouse.diary"

#: Litres that the tank holds.
TANK = 50


def water(greenhouse, litres):
    """Give each plant so much water; returns how many there were.

    A worker calls it as the user who asked, so a plant is changed only if she may
    change it. ValueError if that needs more water than there is: then no plant gets
    any, because all that was written before is rolled back.
    """
    plants = greenhouse.objectValues()
    for number, plant in enumerate(plants, 1):
        if number * litres > TANK:
            raise ValueError(f"The tank is empty after {number - 1} plants")
        plant.setDescription(f"Watered with {litres} litres")
        plant.reindexObject(idxs=["Description"])
    note(greenhouse, f"{len(plants)} plants watered")
    return len(plants)


def note(greenhouse, text):
    """Write a line into the diary."""
    IAnnotations(greenhouse).setdefault(DIARY, PersistentList()).append(text)


def diary(greenhouse):
    """The lines of the diary, the newest last."""
    return list(IAnnotations(greenhouse).get(DIARY, ()))
