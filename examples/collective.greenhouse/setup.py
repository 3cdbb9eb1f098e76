from pathlib import Path
from setuptools import find_namespace_packages
from setuptools import setup


setup(
    name="collective.greenhouse",
    version="1.0",
    description="An example: an add-on for Plone that waters plants in the background",
    long_description=Path(__file__).with_name("README.rst").read_text(),
    long_description_content_type="text/x-rst",
    license="GPL-2.0-only",
    packages=find_namespace_packages("src"),
    package_dir={"": "src"},
    package_data={"collective.greenhouse": ["*.pt", "*.zcml"]},
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=[
        "collective.clockwork",
        "plone.dexterity",
        "plone.protect",
        "Products.CMFPlone",
    ],
    extras_require={
        "test": ["plone.app.testing", "plone.testing", "pytest", "zope.pytestlayer"],
    },
    entry_points={"plone.autoinclude.plugin": ["target = plone"]},
)
