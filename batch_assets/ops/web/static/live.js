// Fetches the page again and puts its <main> in place of the old one. Without this script the
// page reloads itself.
"use strict";
(() => {
  const main = document.getElementById("main");
  const mark = document.getElementById("live");
  const everySeconds = Number(main.dataset.everySeconds);
  if (!everySeconds) return;
  // What was said about the last change is said once: not again when the page is reloaded.
  const address = new URL(location.href);
  for (const name of ["done", "id"]) address.searchParams.delete(name);
  history.replaceState(null, "", address);

  const say = (isLive) => {
    mark.hidden = false;
    mark.classList.toggle("stale", !isLive);
    if (isLive) mark.textContent = mark.dataset.live;
    else if (!mark.dataset.since) {
      mark.dataset.since = new Date().toLocaleTimeString();
      mark.textContent = mark.dataset.stale.replace("{time}", mark.dataset.since);
    }
    if (isLive) delete mark.dataset.since;
  };
  const isRead = () => {
    const selected = document.getSelection();
    return selected && !selected.isCollapsed && main.contains(selected.anchorNode);
  };
  const keyOf = (element) => element && element.dataset && element.dataset.key;

  const replace = (fresh) => {
    const open = new Set([...main.querySelectorAll("details[open]")].map(keyOf));
    const focused = main.contains(document.activeElement) ? keyOf(document.activeElement) : null;
    main.replaceChildren(...document.adoptNode(fresh).childNodes);
    for (const details of main.querySelectorAll("details")) {
      if (open.has(keyOf(details))) details.open = true;
    }
    if (focused) {
      const again = [...main.querySelectorAll("[data-key]")].find((one) => keyOf(one) === focused);
      if (again) again.focus({ preventScroll: true });
    }
  };

  const look = async () => {
    if (document.hidden || isRead()) return;
    let answer;
    try {
      answer = await fetch(address, { cache: "no-store", signal: AbortSignal.timeout(10000) });
    } catch {
      say(false);
      return;
    }
    // The session has ended, or the page has: what the server says is shown as it is.
    if (answer.redirected || answer.status === 404) {
      location.reload();
      return;
    }
    if (!answer.ok) {
      say(false);
      return;
    }
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    replace(fresh.getElementById("main"));
    say(true);
  };
  const again = async () => {
    await look();
    setTimeout(again, everySeconds * 1000);
  };
  say(true);
  setTimeout(again, everySeconds * 1000);
  document.addEventListener("visibilitychange", look);
})();
