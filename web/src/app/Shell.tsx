/**
 * The signed-in page: rooms on the left, the conversation in the middle, people on the right; on a
 * small screen the sides are drawers. Wires the features together, which do not know each other.
 */
import { useCallback, useEffect, useMemo, useState } from "react";
import type { ReactNode } from "react";
import type { ChatClient, RoomStore, User } from "chatroom-sdk";
import { useLocation } from "wouter";
import { AccountBar } from "../features/account/AccountBar.tsx";
import { Chat } from "../features/chat/Chat.tsx";
import { ConnectionBanner } from "../features/connection/ConnectionBanner.tsx";
import { People } from "../features/people/People.tsx";
import { CreateRoom } from "../features/rooms/CreateRoom.tsx";
import { JoinedRooms } from "../features/rooms/joinedRooms.ts";
import { RoomList } from "../features/rooms/RoomList.tsx";
import { Button, IconButton } from "../ui/Button.tsx";
import { Dialog } from "../ui/Dialog.tsx";
import { useTexts } from "../ui/i18n/useTexts.tsx";
import { Logo } from "../ui/Logo.tsx";
import { problemText } from "../ui/problemText.ts";
import { useToast } from "../ui/Toasts.tsx";
import { useMedia } from "../ui/useMedia.ts";
import { useStore } from "../ui/useStore.ts";

type Drawer = "rooms" | "people" | "create" | undefined;

export function Shell({ client, me }: { readonly client: ChatClient; readonly me: User }) {
  const texts = useTexts();
  const toast = useToast();
  const [location, navigate] = useLocation();
  const joined = useMemo(() => new JoinedRooms(client, me.id), [client, me.id]);
  const place = parsePlace(location);
  const roomId = place.kind === "room" ? place.id : undefined;
  const room = useMemo(
    () => (roomId === undefined ? undefined : joined.store(roomId)),
    [joined, roomId],
  );
  const [drawer, setDrawer] = useState<Drawer>();
  const [peopleShown, setPeopleShown] = useState(true);
  const narrow = useMedia("(max-width: 47.99rem)");
  const wide = useMedia("(min-width: 68rem)");
  const close = useCallback(() => setDrawer(undefined), []);

  useEffect(() => {
    if (room === undefined) document.title = "ChatRoom";
  }, [room]);
  useEffect(() => joined.follow(roomId), [joined, roomId]);
  useEffect(
    () => client.onRefusal((refusal) => toast(problemText(texts, refusal.item.code ?? ""))),
    [client, toast, texts],
  );

  const leave = (id: number) => {
    joined.leave(id);
    if (id === roomId) navigate("/");
  };
  const list = (
    <RoomList
      api={client.api}
      joined={joined}
      current={roomId}
      onCreate={() => setDrawer("create")}
      onPick={close}
    />
  );
  const side = (
    <>
      <SideHead />
      {list}
      <AccountBar session={client.session} api={client.api} me={me} />
    </>
  );
  const openRooms = narrow ? (
    <IconButton icon="menu" label={texts.openRooms} onClick={() => setDrawer("rooms")} />
  ) : undefined;
  const peopleAside = wide && peopleShown;

  return (
    <div className="shell" data-people={(room !== undefined && peopleAside) || undefined}>
      {!narrow && <nav className="side" aria-label={texts.rooms}>{side}</nav>}
      <div className="stage">
        <ConnectionBanner connection={client.connection} />
        {room ? (
          <Chat
            key={room.id}
            room={room}
            me={me}
            lead={openRooms}
            peopleShown={wide ? peopleShown : undefined}
            onPeople={() => (wide ? setPeopleShown(!peopleShown) : setDrawer("people"))}
            onLeave={() => leave(room.id)}
            onGone={() => leave(room.id)}
          />
        ) : narrow && place.kind === "lobby" ? (
          // On a small screen the list of rooms is the start.
          <main className="side" aria-label={texts.rooms}>
            {side}
          </main>
        ) : (
          <Lobby lead={openRooms} lost={place.kind === "lost"} me={me} onCreate={() => setDrawer("create")} />
        )}
      </div>
      {room && peopleAside && (
        <aside className="people-side" aria-label={texts.people}>
          <PeopleOf room={room} me={me} />
        </aside>
      )}
      {drawer === "rooms" && narrow && (
        <Dialog title={texts.rooms} place="left" bare onClose={close}>
          <div className="side">{side}</div>
        </Dialog>
      )}
      {drawer === "people" && room && !wide && (
        <Dialog title={texts.people} place="right" bare onClose={close}>
          <PeopleOf room={room} me={me} onClose={close} />
        </Dialog>
      )}
      {drawer === "create" && (
        <CreateRoom
          api={client.api}
          onClose={close}
          onCreated={(created) => {
            close();
            navigate(`/rooms/${created.id}`);
          }}
        />
      )}
    </div>
  );
}

function SideHead() {
  return (
    <header className="side-head">
      <Logo />
      <span className="wordmark">ChatRoom</span>
    </header>
  );
}

function PeopleOf({
  room,
  me,
  onClose,
}: {
  readonly room: RoomStore;
  readonly me: User;
  readonly onClose?: () => void;
}) {
  const { online, users } = useStore(room);
  return <People online={online} users={users} me={me} onClose={onClose} />;
}

interface LobbyProps {
  readonly lead: ReactNode;
  /** The address names nothing. */
  readonly lost: boolean;
  readonly me: User;
  readonly onCreate: () => void;
}

function Lobby({ lead, lost, me, onCreate }: LobbyProps) {
  const texts = useTexts();
  return (
    <main className="lobby">
      {lead && <div className="lobby-head">{lead}</div>}
      <div className="lobby-body">
        <Logo />
        <h1>{lost ? texts.pageGoneTitle : texts.welcomeTitle(me.username)}</h1>
        <p>{texts.welcomeText}</p>
        <Button look="primary" icon="plus" onClick={onCreate}>
          {texts.createRoom}
        </Button>
      </div>
    </main>
  );
}

type Place = { readonly kind: "lobby" | "lost" } | { readonly kind: "room"; readonly id: number };

function parsePlace(path: string): Place {
  if (path === "/") return { kind: "lobby" };
  const id = Number(/^\/rooms\/([1-9]\d{0,15})\/?$/.exec(path)?.[1]);
  return Number.isSafeInteger(id) ? { kind: "room", id } : { kind: "lost" };
}
