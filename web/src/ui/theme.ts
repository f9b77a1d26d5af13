// Enters: the system's preference and the user's choice. Leaves: the theme on the document, and a number that changes
// with it for what is drawn on a canvas.
import { useEffect, useLayoutEffect, useState } from "preact/hooks";
import { useStored } from "./stored";

export type Theme = "system" | "light" | "dark";

export const THEMES: readonly Theme[] = ["system", "light", "dark"];

function isTheme(value: unknown): value is Theme {
  return THEMES.some((theme) => theme === value);
}

export function useTheme(): [Theme, () => void] {
  const [theme, setTheme] = useStored<Theme>("theme", "system", isTheme);
  useLayoutEffect(() => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }, [theme]);
  const next = () => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length] ?? "system");
  return [theme, next];
}

/** Grows whenever colours may have changed. */
export function useThemeVersion(): number {
  const [version, setVersion] = useState(0);
  useEffect(() => {
    const changed = () => setVersion((old) => old + 1);
    const query = matchMedia("(prefers-color-scheme: dark)");
    query.addEventListener("change", changed);
    const observer = new MutationObserver(changed);
    observer.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    return () => {
      query.removeEventListener("change", changed);
      observer.disconnect();
    };
  }, []);
  return version;
}
