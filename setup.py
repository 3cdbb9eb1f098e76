from pathlib import Path
from setuptools import find_namespace_packages
from setuptools import setup


here = Path(__file__).parent


def read(name):
    path = here / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


setup(
    name="collective.clockwork",
    version="1.0a1.dev0",
    description="Background jobs for Plone that live in the ZODB, "
    "with the content they are about",
    long_description="\n\n".join((read("README.rst"), read("CHANGES.rst"))),
    long_description_content_type="text/x-rst",
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Web Environment",
        "Framework :: Plone",
        "Framework :: Plone :: 6.1",
        "Framework :: Plone :: 6.2",
        "Framework :: Plone :: Addon",
        "Framework :: Zope",
        "Framework :: Zope :: 5",
        "Intended Audience :: Developers",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: System :: Distributed Computing",
    ],
    keywords="Plone Zope ZODB background job queue task asynchronous schedule",
    license="GPL-2.0-only",
    license_files=["LICENSE"],
    packages=find_namespace_packages(where="src", include=["collective.*"]),
    package_dir={"": "src"},
    include_package_data=True,
    zip_safe=False,
    python_requires=">=3.10",
    install_requires=[
        "AccessControl",
        "Acquisition",
        "BTrees",
        "persistent",
        "plone.api",
        "plone.app.registry",
        "plone.base",
        "plone.protect",
        "plone.uuid",
        "Products.CMFCore",
        "Products.CMFPlone",
        "Products.GenericSetup",
        "Products.ZCatalog",
        "transaction",
        "zc.lockfile",
        "ZEO",
        "zExceptions",
        "ZODB",
        "zodbpickle",
        "Zope",
        "zope.component",
        "zope.configuration",
        "zope.event",
        "zope.globalrequest",
        "zope.i18nmessageid",
        "zope.interface",
        "zope.lifecycleevent",
        "zope.processlifetime",
        "zope.publisher",
        "zope.schema",
        "zope.traversing",
    ],
    extras_require={
        "docs": ["Sphinx"],
        "peers": ["celery", "huey", "redis"],
        "relstorage": ["RelStorage", "psycopg2-binary"],
        "test": [
            "hypothesis",
            "plone.app.contenttypes",
            "plone.app.testing",
            "plone.testing",
            "pytest",
            "pytest-timeout",
            "requests",
            "ruff",
            "selenium",
            "Twisted",
            "zope.pytestlayer",
            "zope.testing",
            "zpretty",
        ],
        "twisted": ["Twisted"],
    },
    entry_points={
        "console_scripts": ["clockwork-worker = collective.clockwork.worker:main"],
        "plone.autoinclude.plugin": ["target = plone"],
    },
)
