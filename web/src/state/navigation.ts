// Enters: what the user chose. Leaves: the current Address to every part of the page, kept in the browser's history, so
// that links can be shared and the back button works.
import { createContext } from "preact";
import { useCallback, useContext, useEffect, useMemo, useState } from "preact/hooks";
import { type Address, readAddress, writeAddress } from "./address";

export interface Navigation {
  address: Address;
  /** A step the back button undoes. */
  go: (change: Partial<Address>) => void;
  /** A refinement of the current step (typing in a filter, unfolding): replaces it in the history. */
  refine: (change: Partial<Address>) => void;
  /** Where a change would lead, for links that can be opened in a new tab. */
  href: (change: Partial<Address>) => string;
}

export const NavigationContext = createContext<Navigation | null>(null);

export function useNavigation(): Navigation {
  const navigation = useContext(NavigationContext);
  if (navigation === null) throw new Error("useNavigation outside of the page");
  return navigation;
}

/** Used once, at the page's root. */
export function useHistory(): Navigation {
  const [address, setAddress] = useState(() => readAddress(location.search));

  useEffect(() => {
    const onPop = () => setAddress(readAddress(location.search));
    addEventListener("popstate", onPop);
    return () => removeEventListener("popstate", onPop);
  }, []);

  const move = useCallback((change: Partial<Address>, how: "pushState" | "replaceState") => {
    const next = { ...readAddress(location.search), ...change };
    const search = writeAddress(next);
    if (search !== location.search) history[how](null, "", search);
    setAddress(next);
  }, []);

  return useMemo(
    () => ({
      address,
      go: (change) => move(change, "pushState"),
      refine: (change) => move(change, "replaceState"),
      href: (change) => writeAddress({ ...address, ...change }),
    }),
    [address, move],
  );
}
