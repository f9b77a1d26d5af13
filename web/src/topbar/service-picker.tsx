// Enters: the services of the range. Leaves: the chosen one. A combobox with a list: type to narrow, arrows, Enter, Escape.
import type { JSX } from "preact";
import { useEffect, useId, useMemo, useRef, useState } from "preact/hooks";
import { requestPath } from "../api/client";
import { useQuery } from "../api/query";
import type { Service, Services } from "../api/types";
import { errorShare } from "../compute/classes";
import { formatCompact, formatShare } from "../compute/format";
import { serviceName, serviceOfNode } from "../state/address";
import type { Clock } from "../state/clock";
import { useNavigation } from "../state/navigation";
import { Icon } from "../ui/icons";

const ALL = "All services";

/** Those whose name contains all the words typed; the best known first: names that start with it. */
export function matchingServices(services: Service[], typed: string): Service[] {
  const words = typed
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  const starts = (service: Service) => (service.name.toLowerCase().startsWith(words[0] ?? "") ? 0 : 1);
  return services
    .filter((service) => words.every((word) => service.name.toLowerCase().includes(word)))
    .sort((a, b) => starts(a) - starts(b) || (a.name < b.name ? -1 : 1));
}

export function ServicePicker({ clock }: { clock: Clock }): JSX.Element {
  const { address, go } = useNavigation();
  const query = useQuery<Services>(
    requestPath("services", { from_ms: clock.from_ms, to_ms: clock.to_ms }),
    "services",
  );
  const [typed, setTyped] = useState<string | null>(null);
  const [active, setActive] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const id = useId();
  const open = typed !== null;
  const shown = address.service === null ? ALL : serviceName(address.service);

  const found = useMemo(() => matchingServices(query.data?.services ?? [], typed ?? ""), [query.data, typed]);
  const offersAll = (typed ?? "").trim() === "";
  const options: (Service | null)[] = offersAll ? [null, ...found] : found;

  useEffect(() => {
    list.current?.querySelector('[aria-selected="true"]')?.scrollIntoView({ block: "nearest" });
  });

  const choose = (service: Service | null) => {
    setTyped(null);
    go({
      service: service === null ? null : serviceOfNode(service.id),
      node: null,
      edge: null,
      selection: null,
      trace: null,
      span: null,
    });
    input.current?.blur();
  };

  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) {
      event.preventDefault();
      if (!open) setTyped("");
      else setActive((active + step + options.length) % Math.max(1, options.length));
    } else if (event.key === "Enter" && open) {
      const option = options[active];
      if (option !== undefined) choose(option);
    } else if (event.key === "Escape" && open) {
      setTyped(null);
    }
  };

  return (
    <div class="service-picker">
      <Icon name="service" size={15} />
      <input
        ref={input}
        type="text"
        role="combobox"
        aria-label="Service"
        aria-expanded={open}
        aria-controls={`${id}-list`}
        aria-activedescendant={open && options.length > 0 ? `${id}-${active}` : undefined}
        aria-autocomplete="list"
        autocomplete="off"
        spellcheck={false}
        placeholder={shown}
        value={typed ?? shown}
        onFocus={() => {
          setTyped("");
          setActive(0);
        }}
        onBlur={() => setTyped(null)}
        onInput={(event) => {
          setTyped(event.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={onKeyDown}
      />
      <Icon name="down" size={14} />
      {open && (
        <div class="service-list" id={`${id}-list`} ref={list} role="listbox" aria-label="Services">
          {options.map((service, index) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the keys are heard by the combobox's input
            <div
              key={service?.id ?? ""}
              id={`${id}-${index}`}
              role="option"
              tabIndex={-1}
              aria-selected={index === active}
              class="service-option"
              onPointerDown={(event) => event.preventDefault()}
              onPointerMove={() => setActive(index)}
              onClick={() => choose(service)}
            >
              <span class="service-option-name">{service?.name ?? ALL}</span>
              {service !== null && <ServiceFigures service={service} />}
            </div>
          ))}
          {options.length === 0 && <p class="service-none">No service of that name in this range</p>}
          {query.error !== null && <p class="service-none">{query.error.message}</p>}
        </div>
      )}
    </div>
  );
}

function ServiceFigures({ service }: { service: Service }): JSX.Element {
  const share = errorShare(service.count, service.error_count);
  return (
    <span class="service-option-figures">
      <span class="faint">{service.family === "" ? service.kind : service.family}</span>
      <span>{formatCompact(service.count)}</span>
      {service.error_count > 0 && <span class="bad">{formatShare(share)}</span>}
    </span>
  );
}
