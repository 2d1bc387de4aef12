/** The server's rooms that match a filter, page by page, looked at again now and then. */
import { useCallback, useEffect, useRef, useState } from "react";
import { asProblem } from "chatroom-sdk";
import type { Api, Problem, Room } from "chatroom-sdk";

interface Listing {
  readonly filter: string;
  readonly rooms: readonly Room[];
  /** Where the next page begins; absent when there is none. */
  readonly cursor: string | undefined;
}

export function useRooms(api: Api, filter: string) {
  const [listing, setListing] = useState<Listing>();
  const [problem, setProblem] = useState<Problem>();
  const [loadingMore, setLoadingMore] = useState(false);
  const aborter = useRef(new AbortController());

  /** Loads the first page and puts it before what is known of the others. */
  const refresh = useCallback(async () => {
    aborter.current.abort();
    aborter.current = new AbortController();
    const { signal } = aborter.current;
    try {
      const page = await api.rooms({ q: filter, limit: PAGE }, signal);
      if (signal.aborted) return;
      setProblem(undefined);
      setListing((old) => {
        const first = new Set(page.rooms.map((room) => room.id));
        const same = old?.filter === filter && old.rooms.length > PAGE;
        const rest = same ? old.rooms.filter((room) => !first.has(room.id)) : [];
        return { filter, rooms: [...page.rooms, ...rest], cursor: same ? old.cursor : page.next_cursor };
      });
    } catch (error) {
      if (!signal.aborted) setProblem(asProblem(error));
    }
  }, [api, filter]);

  useEffect(() => {
    const first = setTimeout(() => void refresh(), filter === "" ? 0 : TYPING_MS);
    const again = setInterval(() => {
      if (!document.hidden) void refresh();
    }, REFRESH_MS);
    const focused = () => void refresh();
    window.addEventListener("focus", focused);
    return () => {
      clearTimeout(first);
      clearInterval(again);
      window.removeEventListener("focus", focused);
      aborter.current.abort();
    };
  }, [refresh, filter]);

  const more = useCallback(async () => {
    if (listing?.cursor === undefined || listing.filter !== filter) return;
    setLoadingMore(true);
    try {
      const page = await api.rooms({ q: filter, cursor: listing.cursor, limit: PAGE });
      setListing((old) => {
        if (old?.filter !== filter) return old;
        const known = new Set(old.rooms.map((room) => room.id));
        const added = page.rooms.filter((room) => !known.has(room.id));
        return { filter, rooms: [...old.rooms, ...added], cursor: page.next_cursor };
      });
    } catch (error) {
      setProblem(asProblem(error));
    }
    setLoadingMore(false);
  }, [api, filter, listing]);

  return {
    rooms: listing?.rooms,
    /** The rooms shown are those of the filter before. */
    stale: listing?.filter !== filter,
    hasMore: listing?.cursor !== undefined,
    loadingMore,
    problem,
    refresh,
    more,
  };
}

const PAGE = 50;
const TYPING_MS = 250;
const REFRESH_MS = 30_000;
