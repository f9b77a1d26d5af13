// Enters: a name and a default. Leaves: a setting of this browser (theme, axis), kept in local storage where there is one.
import { useCallback, useState } from "preact/hooks";

function read<T>(name: string, otherwise: T, isValid: (value: unknown) => value is T): T {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(`spanhound.${name}`) ?? "null");
    return isValid(value) ? value : otherwise;
  } catch {
    return otherwise;
  }
}

export function useStored<T>(
  name: string,
  otherwise: T,
  isValid: (value: unknown) => value is T,
): [T, (value: T) => void] {
  const [value, setValue] = useState(() => read(name, otherwise, isValid));
  const store = useCallback(
    (next: T) => {
      setValue(next);
      try {
        localStorage.setItem(`spanhound.${name}`, JSON.stringify(next));
      } catch {
        // A browser that keeps nothing still shows everything.
      }
    },
    [name],
  );
  return [value, store];
}
