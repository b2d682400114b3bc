export async function startText() {}
