// Follows the sweep: fetches the page each second, and puts what changed in the place of the old.
let seen = null;

const key = (details) =>
  details.closest("section").id + details.querySelector("summary").textContent.replace(/[\d,]/g, "");

function replace(old, made) {
  const open = new Set([...old.querySelectorAll("details[open]")].map(key));
  for (const details of made.querySelectorAll("details")) details.open = open.has(key(details));
  old.replaceWith(made);
}

function show(page) {
  const parts = (root) => [...root.querySelectorAll("#state, main > *")];
  const [old, made] = [parts(document), parts(page)];
  const names = (all) => all.map((part) => part.id).join();
  if (names(old) !== names(made)) {
    replace(document.querySelector("#state"), page.querySelector("#state"));
    replace(document.querySelector("main"), page.querySelector("main"));
    return;
  }
  old.forEach((part, i) => part.outerHTML === made[i].outerHTML || replace(part, made[i]));
}

async function follow() {
  let lost = false;
  try {
    const answer = await fetch("/", { cache: "no-cache" });
    const tag = answer.headers.get("ETag");
    if (answer.ok && tag !== seen) {
      show(new DOMParser().parseFromString(await answer.text(), "text/html"));
      seen = tag;
    }
    lost = !answer.ok;
  } catch {
    lost = true;
  }
  document.querySelector("#state").classList.toggle("lost", lost);
  setTimeout(follow, 1000);
}

follow();
