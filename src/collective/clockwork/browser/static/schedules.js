/* Shows the next firings while somebody types. The form is complete without it. */
(function () {
  "use strict";

  const form = document.getElementById("schedule-form");
  if (!form) {
    return;
  }

  const PAUSE = 300;
  const PARTS = ["when", "cron", "every", "every-unit", "timezone"];
  const choice = document.getElementById("schedule-function");
  const description = document.getElementById("function-help");
  const mistake = document.getElementById("cron-error");
  let waiting = null;
  let asked = null;

  function address() {
    const values = new FormData(form);
    const query = new URLSearchParams();
    for (const part of PARTS) {
      query.set(part, values.get(part) ?? "");
    }
    return form.dataset.previewUrl + "?" + query;
  }

  /* Whatever goes wrong here, "Save" shows the firings before it saves. */
  async function lookAhead() {
    asked?.abort();
    asked = new AbortController();
    const response = await fetch(address(), {
      cache: "no-store",
      credentials: "same-origin",
      signal: asked.signal,
    });
    const text = await response.text();
    const parsed = new DOMParser().parseFromString(text, "text/html");
    const fresh = parsed.getElementById("schedule-ahead");
    if (response.ok && fresh) {
      document.getElementById("schedule-ahead").replaceWith(document.adoptNode(fresh));
      mistake?.remove();
    }
  }

  function lookAheadSoon(event) {
    if (PARTS.includes(event.target.name)) {
      window.clearTimeout(waiting);
      waiting = window.setTimeout(() => lookAhead().catch(() => {}), PAUSE);
    }
  }

  function describe() {
    description.textContent = choice.selectedOptions[0]?.dataset.description ?? "";
  }

  form.addEventListener("input", lookAheadSoon);
  choice.addEventListener("change", describe);
  document.getElementById("schedule-preview").addEventListener("click", (event) => {
    event.preventDefault();
    lookAhead().catch(() => {});
  });
})();
