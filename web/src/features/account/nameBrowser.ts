/** What people call the program behind a `User-Agent`, as in “Firefox · Linux”. Answers nothing for what it does not know. */
export function nameBrowser(agent: string | undefined): string | undefined {
  if (agent === undefined) return undefined;
  const browser = BROWSERS.find(([pattern]) => pattern.test(agent))?.[1];
  const system = SYSTEMS.find(([pattern]) => pattern.test(agent))?.[1];
  const names = [browser, system].filter((name) => name !== undefined);
  return names.length === 0 ? undefined : names.join(" · ");
}

/** In this order: each of them claims to be most of those that follow. */
const BROWSERS = [
  [/Edg(?:e|A|iOS)?\//, "Edge"],
  [/OPR\//, "Opera"],
  [/Firefox\/|FxiOS\//, "Firefox"],
  [/Chrom(?:e|ium)\/|CriOS\//, "Chrome"],
  [/Safari\//, "Safari"],
  [/^curl\//, "curl"],
] as const;

const SYSTEMS = [
  [/iPhone|iPad/, "iOS"],
  [/Android/, "Android"],
  [/Windows/, "Windows"],
  [/Macintosh/, "macOS"],
  [/CrOS/, "ChromeOS"],
  [/Linux/, "Linux"],
] as const;
