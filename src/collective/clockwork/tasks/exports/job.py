"""What runs in the background: asks the catalog as its user, and writes the file."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Sequence
from collective.clockwork import identity
from collective.clockwork.tasks.exports.columns import row_of
from collective.clockwork.tasks.exports.columns import TITLES
from collective.clockwork.tasks.exports.files import ExportFile
from collective.clockwork.tasks.exports.files import WRITERS
from collective.clockwork.tasks.exports.query import find
from collective.clockwork.tasks.exports.query import in_turn
from collective.clockwork.tasks.report import Report
from datetime import datetime
from plone.app.event.base import default_timezone
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import Any
from ZODB.blob import Blob
from zope.globalrequest import getRequest
from zope.i18n import translate


def export(
    context: Any,
    *,
    query: Mapping[str, Any] | None,
    columns: Sequence[str],
    format: str,
    ctx: Any,
) -> ExportFile:
    """Write a file with a row for each object that the query finds; the file.

    Without a query it is that of the context, a collection. The file is stored with
    the commit that ends the job, so there is a whole one or none, and an attempt after
    a crash begins anew. ValueError for more rows than the format can have.
    """
    site = identity.current_site()
    site_path = "/".join(site.getPhysicalPath())
    zone = default_timezone(context, as_tzinfo=True)
    found = find(context, query)
    total = len(found)
    kind = WRITERS[format]
    if kind.most_rows is not None and total >= kind.most_rows:
        raise ValueError(
            f"{total} objects were found, and a file of this format has room for "
            f"{kind.most_rows - 1}: export them as CSV"
        )
    made = ExportFile()
    # It has no name, so nothing of it is left, however the worker ends.
    with TemporaryFile() as target:
        writer = kind(target)
        try:
            writer.write([_title(name) for name in columns])
            for number, brain in enumerate(in_turn(found, query, site._p_jar)):
                ctx.checkpoint()
                ctx.progress(number, total)
                writer.write(row_of(brain, columns, site_path, zone))
            writer.finish()
        except BaseException:
            writer.abandon()
            raise
        made.size = target.tell()
        target.seek(0)
        made.blob = Blob()
        with made.blob.open("w") as stored:
            copyfileobj(target, stored)
    ctx.progress(total, total)
    made.rows = total
    made.content_type = kind.content_type
    day = datetime.now(zone).date().isoformat()
    made.name = f"{context.getId()}-{day}.{kind.extension}"
    Report(ctx.job).count("done", total)
    return made


def _title(name: str) -> str:
    title = TITLES.get(name)
    return name if title is None else translate(title, context=getRequest())
