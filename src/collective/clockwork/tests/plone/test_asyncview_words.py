"""The pages of background views in the languages that they are translated into."""

from __future__ import annotations

from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from collective.clockwork.browser import asyncview
from collective.clockwork.testing import drain
from collective.clockwork.tests.plone import asyncviews
from collective.clockwork.tests.plone.test_asyncview import AsyncViewTestCase
from pathlib import Path
from zope.i18n import translate

import collective.clockwork
import re


LANGUAGES = ("de", "es", "fr", "it", "nl", "pt_BR")
LOCALES = Path(collective.clockwork.__file__).parent / "locales"
BROWSER = Path(collective.clockwork.__file__).parent / "browser"

#: Heading, progress and button.
WORDS = {
    "de": ("Bitte warten", "40 % erledigt", "Abbrechen", "wurde nicht erledigt"),
    "es": ("Espere, por favor", "40 % completado", "Cancelar", "no se ha realizado"),
    "fr": ("Veuillez patienter", "40 % terminé", "Annuler", "n’a pas été effectué"),
    "it": ("Attendere prego", "40% completato", "Annulla", "non è stato eseguito"),
    "nl": ("Een ogenblik geduld", "40% voltooid", "Annuleren", "is niet uitgevoerd"),
    "pt-br": ("Aguarde, por favor", "40% concluído", "Cancelar", "não foi realizado"),
}


def catalog(language):
    folder = LOCALES / language / "LC_MESSAGES"
    with open(folder / "collective.clockwork.po", "rb") as file:
        return read_po(file)


class TestCatalogs(AsyncViewTestCase):
    def words_of_the_pages(self):
        words = {str(text) for text in asyncview.STATES.values()}
        words |= {str(asyncview.time_left(seconds)) for seconds in (1, 600, 3600 * 3)}
        for name in ("processing.pt", "processerror.pt"):
            source = (BROWSER / name).read_text()
            words |= set(re.findall(r'i18n:translate="(\w+)"', source))
            words |= {
                " ".join(text.split())
                for text in re.findall(r'i18n:translate=""\s*>([^<]+)<', source)
            }
            for names in re.findall(r'i18n:attributes="([^"]+)"', source):
                for attribute in names.split(";"):
                    words |= set(re.findall(rf'{attribute}="([^"]+)"', source))
        return words

    def test_each_word_of_the_pages_is_translated(self):
        words = self.words_of_the_pages()
        self.assertLess(12, len(words))
        for language in LANGUAGES:
            known = catalog(language)
            for word in words:
                with self.subTest(language=language, word=word):
                    self.assertIn(word, known)
                    self.assertTrue(known[word].string)

    def test_translations_have_the_same_values_in_them(self):
        for language in LANGUAGES:
            for message in catalog(language):
                if message.id in self.texts_with_values():
                    wanted = re.findall(r"\$\{\w+\}", str(message.id))
                    found = re.findall(r"\$\{\w+\}", message.string)
                    self.assertEqual(sorted(wanted), sorted(found), message.id)

    def texts_with_values(self):
        return [word.id for word in catalog("fr") if word.id and "${" in word.id]

    def test_what_is_compiled_is_what_is_written(self):
        for language in LANGUAGES:
            name = LOCALES / language / "LC_MESSAGES" / "collective.clockwork.mo"
            with open(name, "rb") as file:
                compiled = read_mo(file)
            for message in catalog(language):
                if message.id and message.string:
                    self.assertEqual(message.string, compiled[message.id].string)


class TestPages(AsyncViewTestCase):
    def speaking(self, language, name):
        view = self.view(name)
        view.request["LANGUAGE"] = language
        view.request.environ["HTTP_ACCEPT_LANGUAGE"] = language
        return view

    def test_the_page_speaks_the_language_of_the_visitor(self):
        process_id = self.start("held")
        for language, (title, _percent, cancel, _error) in WORDS.items():
            page = self.speaking(language, "held").processing(process_id)
            self.assertIn(title, page)
            self.assertIn(cancel, page)

    def test_the_percentage_too(self):
        for language, (_title, percent, _cancel, _error) in WORDS.items():
            view = self.speaking(language, "held")
            self.assertEqual(percent, view._percent_text(40))

    def test_and_the_error(self):
        process_id = self.run_to_its_end("failing")
        for language, (*_others, error) in WORDS.items():
            said = self.speaking(language, "failing").completed(process_id, True)
            self.assertIn(error, said.encode().decode("unicode_escape"))

    def test_how_long_it_takes_still(self):
        shown = [
            translate(asyncview.time_left(seconds))
            for seconds in (0, 29, 31, 90 * 60, 150 * 60)
        ]
        self.assertEqual(
            [
                "Less than a minute left",
                "Less than a minute left",
                "About 1 min left",
                "About 90 min left",
                "About 2 h left",
            ],
            shown,
        )

    def test_a_message_of_the_view_is_shown_as_text(self):
        asyncviews.steps.put((10, "<script>alert(1)</script>"))
        asyncviews.steps.put(None)
        process_id = self.run_to_its_end("counting")
        view = self.view("counting")
        state = view.progress_of(process_id)
        self.assertEqual("<script>alert(1)</script>", state["message"])
        page = view.processing_page(process_id=process_id)
        self.assertIn("&lt;script&gt;alert(1)", page)
        self.assertNotIn("<script>alert(1)", page)
        drain()
