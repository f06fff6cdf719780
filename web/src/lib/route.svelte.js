// Which view is shown, kept in the address so that it can be sent to somebody.
const read = () => decodeURIComponent(location.hash.replace(/^#\/?/, "")).split("/");
export const route = $state({ parts: read() });
addEventListener("hashchange", () => {
  route.parts = read();
  scrollTo(0, 0);
});
export const siteLink = (name) => `#/site/${encodeURIComponent(name)}`;
