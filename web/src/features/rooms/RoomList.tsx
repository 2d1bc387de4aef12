import { useState } from "react";
import type { Api, Room } from "chatroom-sdk";
import { Link } from "wouter";
import { Button, IconButton } from "../../ui/Button.tsx";
import { useTexts } from "../../ui/i18n/useTexts.tsx";
import { Icon } from "../../ui/Icon.tsx";
import { useStore } from "../../ui/useStore.ts";
import type { JoinedRoom, JoinedRooms } from "./joinedRooms.ts";
import { useRooms } from "./useRooms.ts";
import "./rooms.css";

interface RoomListProps {
  readonly api: Api;
  readonly joined: JoinedRooms;
  readonly current: number | undefined;
  readonly onCreate: () => void;
  /** A room was picked, perhaps the present one. */
  readonly onPick: () => void;
}

/** The rooms walked into, with what is unread, and all others to find. */
export function RoomList({ api, joined, current, onCreate, onPick }: RoomListProps) {
  const texts = useTexts();
  const [filter, setFilter] = useState("");
  const own = useStore(joined);
  const listing = useRooms(api, filter.trim());
  const filtered = filter.trim() !== "";
  const pick = () => {
    setFilter("");
    onPick();
  };
  const ownIds = new Set(own.map((room) => room.id));
  const others = filtered ? listing.rooms : listing.rooms?.filter((room) => !ownIds.has(room.id));

  return (
    <div className="rooms">
      <div className="rooms-tools">
        <div className="rooms-filter">
          <Icon name="search" />
          <input
            type="search"
            aria-label={texts.filterRooms}
            placeholder={texts.filterRooms}
            value={filter}
            onChange={(event) => setFilter(event.target.value)}
            onKeyDown={(event) => event.key === "Escape" && setFilter("")}
          />
          {filter !== "" && <IconButton icon="close" label={texts.clearFilter} onClick={() => setFilter("")} />}
        </div>
        <IconButton icon="plus" label={texts.createRoom} look="primary" onClick={onCreate} />
      </div>
      <div className="rooms-scroll">
        {!filtered && own.length > 0 && (
          <section>
            <h2>{texts.yourRooms}</h2>
            <ul>
              {own.map((room) => (
                <OwnRoom key={room.id} room={room} joined={joined} current={room.id === current} onPick={pick} />
              ))}
            </ul>
          </section>
        )}
        <section aria-busy={listing.stale || undefined}>
          {(filtered || own.length === 0 || others?.length !== 0) && (
            <h2>{filtered ? texts.foundRooms : texts.allRooms}</h2>
          )}
          {listing.problem && others === undefined && (
            <div className="rooms-note">
              <p role="alert">{texts.roomsFailed}</p>
              <Button icon="retry" onClick={() => void listing.refresh()}>
                {texts.retry}
              </Button>
            </div>
          )}
          {others === undefined && !listing.problem && <Skeleton />}
          {others?.length === 0 && !listing.stale && (filtered || own.length === 0) && (
            <p className="rooms-note" role="status">
              {filtered ? texts.noMatch : texts.noRooms}
            </p>
          )}
          <ul>
            {others?.map((room) => (
              <OtherRoom key={room.id} room={room} current={room.id === current} onPick={pick} />
            ))}
          </ul>
          {listing.hasMore && (
            <Button busy={listing.loadingMore} onClick={() => void listing.more()}>
              {texts.moreRooms}
            </Button>
          )}
        </section>
      </div>
    </div>
  );
}

interface OwnRoomProps {
  readonly room: JoinedRoom;
  readonly joined: JoinedRooms;
  readonly current: boolean;
  readonly onPick: () => void;
}

function OwnRoom({ room, joined, current, onPick }: OwnRoomProps) {
  const texts = useTexts();
  const { unread, unreadMore } = useStore(joined.store(room.id));
  const news = unread > 0 || unreadMore;
  return (
    <li>
      <Link
        href={`/rooms/${room.id}`}
        className="room-link"
        aria-current={current ? "page" : undefined}
        data-news={news || undefined}
        onClick={onPick}
      >
        <Icon name="door" />
        <span className="room-name">{room.name}</span>
        {news && (
          <span className="badge">
            <span aria-hidden="true">{unread > 99 ? "99+" : unread > 0 ? unread : ""}</span>
            <span className="hidden">{texts.unread(unread, unreadMore)}</span>
          </span>
        )}
      </Link>
    </li>
  );
}

interface OtherRoomProps {
  readonly room: Room;
  readonly current: boolean;
  readonly onPick: () => void;
}

function OtherRoom({ room, current, onPick }: OtherRoomProps) {
  const texts = useTexts();
  return (
    <li>
      <Link
        href={`/rooms/${room.id}`}
        className="room-link"
        aria-current={current ? "page" : undefined}
        onClick={onPick}
      >
        <Icon name="door" />
        <span className="room-words">
          <span className="room-name">{room.name}</span>
          {room.topic && <span className="room-topic">{room.topic}</span>}
        </span>
        {room.online > 0 && (
          <span className="room-online">
            <span aria-hidden="true">{room.online}</span>
            <span className="hidden">{texts.online(room.online)}</span>
          </span>
        )}
      </Link>
    </li>
  );
}

function Skeleton() {
  return (
    <div className="skeleton" aria-hidden="true">
      <span />
      <span />
      <span />
    </div>
  );
}
