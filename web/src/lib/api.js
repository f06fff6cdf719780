// Asks the hub. Every failure becomes an `Asked` error with the hub's own code and sentence.

export class Asked extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

let onSignedOut = () => {};
export const whenSignedOut = (call) => (onSignedOut = call);

export async function ask(path, { method = "GET", body, quiet = false } = {}) {
  let reply;
  try {
    reply = await fetch(path, {
      method,
      headers: body === undefined ? { Accept: "application/json" } : { "Content-Type": "application/json" },
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
    });
  } catch {
    throw new Asked(0, "hub_away", "The hub does not answer. Is it running, and does this computer reach it?");
  }
  const text = await reply.text();
  let found = null;
  try {
    found = text ? JSON.parse(text) : null;
  } catch {
    found = null;
  }
  if (!reply.ok) {
    if (reply.status === 401 && !quiet) onSignedOut();
    throw new Asked(reply.status, found?.code ?? "failed", found?.error ?? found?.message ?? `The hub answered ${reply.status}.`);
  }
  return found;
}
