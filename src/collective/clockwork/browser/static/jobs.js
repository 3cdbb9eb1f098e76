/* Keeps the list of background jobs fresh. The page is complete without it. */
(function () {
  "use strict";

  const page = document.getElementById("background-jobs");
  if (!page) {
    return;
  }

  const SECONDS = 5;
  const REMEMBERED = "collective.clockwork.refresh";
  const announcement = document.getElementById("background-jobs-announcement");
  const control = document.getElementById("background-jobs-refresh");
  const toggle = document.getElementById("background-jobs-refresh-switch");
  let shown = null;

  function list() {
    return document.getElementById("background-jobs-list");
  }

  function isSelecting() {
    const selection = document.getSelection();
    return !selection.isCollapsed && list().contains(selection.anchorNode);
  }

  /* A replaced element loses the focus: name it in a way that its successor
     answers to. */
  function focusedSelector() {
    const focused = document.activeElement;
    if (!focused || !list().contains(focused)) {
      return null;
    }
    const job = focused.closest("tr[id]");
    const place = job ? "#" + job.id : "#background-jobs-list nav";
    const href = focused.getAttribute("href");
    const target = href === null ? "" : '[href="' + CSS.escape(href) + '"]';
    return place + " " + focused.localName + target;
  }

  function replaceList(fresh) {
    const opened = new Map();
    for (const details of list().querySelectorAll("details[open]")) {
      const scrolled = details.querySelector("pre").scrollTop;
      opened.set(details.closest("tr").id, scrolled);
    }
    const focused = focusedSelector();
    if (fresh.dataset.summary !== list().dataset.summary) {
      announcement.textContent = fresh.dataset.summary;
    }
    list().replaceWith(fresh);
    for (const details of fresh.querySelectorAll("details")) {
      const id = details.closest("tr").id;
      details.open = opened.has(id);
      details.querySelector("pre").scrollTop = opened.get(id) ?? 0;
    }
    const successor = focused && document.querySelector(focused);
    if (successor) {
      successor.focus({ preventScroll: true });
    }
  }

  async function refresh() {
    if (document.hidden || !toggle.checked || isSelecting()) {
      return;
    }
    const response = await fetch(page.dataset.refreshUrl, {
      cache: "no-store",
      credentials: "same-origin",
    });
    const text = await response.text();
    const parsed = new DOMParser().parseFromString(text, "text/html");
    const fresh = parsed.getElementById("background-jobs-list");
    if (!response.ok || !fresh) {
      throw new Error("no list in the answer");
    }
    if (text !== shown && toggle.checked && !isSelecting()) {
      replaceList(document.adoptNode(fresh));
      shown = text;
    }
  }

  /* After a logout no refresh will succeed any more; after a restart of the
     server the next one does. Say so, and go on trying. */
  async function keepFresh() {
    try {
      await refresh();
      if (announcement.dataset.failed) {
        delete announcement.dataset.failed;
        announcement.classList.add("visually-hidden");
        announcement.classList.remove("alert", "alert-warning");
        announcement.textContent = list().dataset.summary;
      }
    } catch (error) {
      if (!announcement.dataset.failed) {
        announcement.dataset.failed = "true";
        announcement.classList.remove("visually-hidden");
        announcement.classList.add("alert", "alert-warning");
        announcement.textContent = page.dataset.failure;
      }
    }
    window.setTimeout(keepFresh, SECONDS * 1000);
  }

  toggle.checked = window.localStorage.getItem(REMEMBERED) !== "off";
  toggle.addEventListener("change", () => {
    window.localStorage.setItem(REMEMBERED, toggle.checked ? "on" : "off");
  });
  control.hidden = false;
  window.setTimeout(keepFresh, SECONDS * 1000);
})();
