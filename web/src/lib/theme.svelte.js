// Light or dark: as the computer says, until somebody chooses here.
const asked = matchMedia("(prefers-color-scheme: dark)");
const KEY = "littoral-theme";
const stored = () => {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null; // storage may be forbidden; the choice then lasts as long as the page
  }
};
export const theme = $state({ dark: (stored() ?? (asked.matches ? "dark" : "light")) === "dark" });

const show = () => (document.documentElement.dataset.theme = theme.dark ? "dark" : "light");
show();
asked.addEventListener("change", () => {
  if (stored() === null) {
    theme.dark = asked.matches;
    show();
  }
});

export function turn() {
  theme.dark = !theme.dark;
  show();
  try {
    localStorage.setItem(KEY, theme.dark ? "dark" : "light");
  } catch {
    return; // as above
  }
}
