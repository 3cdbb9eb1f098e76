/* Keeps the page of a background view fresh. It refreshes itself without it, too. */
(function () {
  "use strict";

  const page = document.getElementById("background-view");
  if (!page) {
    return;
  }

  const bar = document.getElementById("background-view-bar");
  const told = document.getElementById("progress");
  const WORDS = {
    "background-view-state": "state",
    "background-view-message": "message",
    "background-view-left": "time_left",
  };
  /* A screen reader is told each tenth, not each percent. */
  const STEP = 10;
  let step = null;

  function write(element, text) {
    if (element.textContent !== text) {
      element.textContent = text;
    }
  }

  function show(state) {
    for (const [id, name] of Object.entries(WORDS)) {
      write(document.getElementById(id), state[name] || "");
    }
    if (typeof state.progress !== "number") {
      return;
    }
    bar.hidden = false;
    bar.firstElementChild.setAttribute("aria-valuenow", state.progress);
    bar.querySelector(".progress-bar").style.width = state.progress + "%";
    const reached = Math.floor(state.progress / STEP);
    told.parentElement.setAttribute("aria-live", reached === step ? "off" : "polite");
    step = reached;
    write(told, state.progress_message);
  }

  function setHidden(id, hidden) {
    const element = document.getElementById(id);
    if (element) {
      element.hidden = hidden;
    }
  }

  /* A download leaves the page as it is, so it has to say that it has ended. What can
     be fetched once only is fetched by this, and has no link. */
  function finish() {
    setHidden("background-view-spinner", true);
    setHidden("background-view-cancel", true);
    setHidden("background-view-hint", true);
    setHidden("background-view-result", false);
    told.parentElement.setAttribute("aria-live", "polite");
    write(document.getElementById("background-view-title"), page.dataset.done);
    write(document.getElementById("background-view-state"), page.dataset.finished);
    window.location.replace(page.dataset.resultUrl);
  }

  async function follow() {
    try {
      const response = await fetch(page.dataset.pollUrl, {
        cache: "no-store",
        credentials: "same-origin",
      });
      /* Who was logged out meanwhile may log in again, and comes back. */
      if (response.redirected || [401, 403].includes(response.status)) {
        window.location.replace(page.dataset.processingUrl);
        return;
      }
      const state = await response.json();
      if (state.progress === "ERROR") {
        window.location.replace(page.dataset.processingUrl);
        return;
      }
      show(state);
      if (state.finished) {
        finish();
        return;
      }
    } catch (error) {
      /* The server may be starting again: the next try may succeed. */
      told.parentElement.setAttribute("aria-live", "polite");
      write(document.getElementById("background-view-state"), page.dataset.failure);
    }
    window.setTimeout(follow, Number(page.dataset.interval) * 1000);
  }

  window.setTimeout(follow, Number(page.dataset.interval) * 1000);
})();
