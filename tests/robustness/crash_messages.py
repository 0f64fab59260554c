"""Messages, and what became of them: what was sent, answered and pushed before a kill, against what history says after it.

Idea.       Each message carries its `id` as the first word of its text, so that whatever comes from the server can be
            laid beside what was sent. A Conversation keeps the messages that history has had; a restart may add to
            them, and may never take one away, move one or change one.
"""

from dataclasses import dataclass, field

from harness import User

from servers import Failure

PAGE = 100
# What a text may have in it: quotes, escapes, controls, what is outside of the basic plane, combining marks.
ALPHABET = 'abcdefgh ABCDEFGH 0123456789 "\\/\b\f\n\r\t\x01\x1f\x7f äöüß ☕ é \U0001f600 \u2028'
# Of 100 texts so many are at most so long, in characters. Long ones all the time, so that a store has much to put in order.
LENGTHS = [[(80, 60), (95, 800), (100, 2000)], [(100, 2000)]]


@dataclass
class Message:
    id: str
    sender: str
    conversation: "Conversation"
    text: str
    sent_at: str                        # in words, for the report
    answer: tuple = None                # (msg_id, time) of a reply
    pushes: list = field(default_factory=list)      # (to whom, msg_id, time)
    stood_at: tuple = None              # (msg_id, time) in history after an earlier restart

    def story(self):
        lines = [f"message {self.id} of {self.sender} to {self.conversation.name}: {self.text[:60]!r}",
                 f"  sent     {self.sent_at}",
                 f"  answered {self.answer or 'never'}"]
        lines += [f"  pushed   to {who}: {msg_id, time}" for who, msg_id, time in self.pushes]
        if self.stood_at:
            lines.append(f"  was in history after an earlier restart: {self.stood_at}")
        return "\n".join(lines)


class Conversation:
    """A group, or two users. `members` may read it; `kept` is what history had at the last look, oldest first."""

    def __init__(self, name, members, group):
        self.name, self.members, self.group = name, members, group
        self.kept = []
        self.marks = {member: [0, 0] for member in members}     # read mark: [last answered, last sent]

    def where(self, reader):
        """The conversation as `reader` names it in a request."""
        return {"group": self.name} if self.group else {"user": self.other(reader)}

    def other(self, reader):
        first, second = self.members
        return second if reader == first else first

    def address(self, sender):
        """(cmd, fields) of a message to it."""
        return ("group_chat", {"group": self.name}) if self.group else ("private_chat", {"user_to": self.other(sender)})

    def of_message(self, message):
        return message.conversation is self


class Messages:
    """All messages of one life of the data."""

    def __init__(self, life, chance, senders, readers):
        self.chance = chance
        self.lengths = chance.choice(LENGTHS)
        self.life = life
        self.by_id = {}
        self.fresh = []                 # sent since the last restart
        self.users = {name: User(name, f"password of {name}") for name in (*senders, *readers)}
        self.senders, self.readers = senders, readers
        everybody = (*senders, *readers)
        pairs = [(senders[n], senders[(n + 1) % len(senders)]) for n in range(len(senders))]
        pairs += [(sender, readers[n % len(readers)]) for n, sender in enumerate(senders)]
        self.conversations = {name: Conversation(name, everybody, True) for name in (f"{life}-tea", f"{life}-milk")}
        for pair in pairs:
            name = " and ".join(sorted(pair))
            self.conversations[name] = Conversation(name, tuple(sorted(pair)), False)

    def compose(self, sender, when):
        """A new message of `sender`, to one of his conversations."""
        mine = [one for one in self.conversations.values() if sender in one.members]
        identity = f"{self.life}-{len(self.by_id)}"
        dice = self.chance.randrange(100)
        longest = next(length for share, length in self.lengths if dice < share)
        filler = "".join(self.chance.choices(ALPHABET, k=self.chance.randrange(longest)))
        message = Message(identity, sender, self.chance.choice(mine), f"{identity} {filler}", when)
        self.by_id[identity] = message
        self.fresh.append(message)
        return message

    def of_push(self, push, receiver):
        """The message that a push tells of; it must be one that was sent, as it was sent, to somebody who may read it."""
        message = self.by_id.get(push["text"].partition(" ")[0])
        if not message or (push["text"], push["user_from"]) != (message.text, message.sender):
            raise Failure(f"{receiver} got what nobody sent: {push}\n{message.story() if message else ''}")
        where = push.get("group") or " and ".join(sorted((push["user_from"], push["user_to"])))
        if where != message.conversation.name or receiver not in message.conversation.members:
            raise Failure(f"{receiver} got a message of another conversation: {push}\n{message.story()}")
        message.pushes.append((receiver, push["msg_id"], push["time"]))
        return message

    # --- After a restart

    def check_history(self, clients):
        """All of every conversation, as its first member sees it. Returns how many answered messages were looked for."""
        for conversation in self.conversations.values():
            reader = conversation.members[0]
            self.check_conversation(conversation, history(clients[reader], conversation.where(reader)))
        for message in self.by_id.values():
            if (message.answer or message.pushes) and not message.stood_at:
                what = "An answered message is lost" if message.answer else "What was pushed is not there"
                raise Failure(f"{what}.\n{message.story()}")
        self.check_order()
        return sum(bool(message.answer) for message in self.by_id.values())

    def check_conversation(self, conversation, found):
        numbers = [entry["msg_id"] for entry in found]
        if numbers != list(range(1, len(found) + 1)):
            raise Failure(f"{conversation.name}: the numbers have gaps: {gaps(numbers)}")
        times = [entry["time"] for entry in found]
        if times != sorted(times):
            raise Failure(f"{conversation.name}: time goes back in history")
        kept, seen = [], set()
        for entry in found:
            message = self.by_id.get(entry["text"].partition(" ")[0])
            if not message or (message.text, message.sender) != (entry["text"], entry["user_from"]):
                raise Failure(f"{conversation.name} has what nobody sent: {entry}\n{message.story() if message else ''}")
            if message.id in seen or not conversation.of_message(message):
                raise Failure(f"{conversation.name} has a message that stands elsewhere, too: {entry}\n{message.story()}")
            seen.add(message.id)
            self.check_place(message, (entry["msg_id"], entry["time"]))
            kept.append(message)
        if kept[:len(conversation.kept)] != conversation.kept:
            raise Failure(f"{conversation.name} had {len(conversation.kept)} messages after the restart before this one, "
                          f"and now it begins otherwise: {len(kept)} messages")
        conversation.kept = kept

    @staticmethod
    def check_place(message, place):
        """It stands where its answer, every push and every earlier look said."""
        said = {message.answer, message.stood_at, *((msg_id, time) for _, msg_id, time in message.pushes)} - {None}
        if said - {place}:
            raise Failure(f"It stands at {place} now.\n{message.story()}")
        message.stood_at = place

    def check_order(self):
        """Requests of one connection take effect in their order (Q-2): what is missing was sent after all that is there."""
        for sender in self.senders:
            mine = [message for message in self.fresh if message.sender == sender]
            missing = next((message for message in mine if not message.stood_at), None)
            later = [message for message in mine[mine.index(missing):] if message.stood_at] if missing else []
            if later:
                raise Failure("A message is not there, and one that its sender sent after it is:\n"
                              f"{missing.story()}\n{later[0].story()}")

    def check_unread(self, clients):
        """Each reader's mark is where his last answered `read` put it, or where one sent after it would."""
        for reader in self.readers:
            unread = {entry.get("group") or entry.get("user"): entry for entry in clients[reader].ok("unread")["unread"]}
            for conversation in self.conversations.values():
                if reader in conversation.members:
                    self.check_mark(conversation, reader, unread)

    @staticmethod
    def check_mark(conversation, reader, unread):
        latest = len(conversation.kept)
        name = next(iter(conversation.where(reader).values()))
        entry = unread.get(name, {"count": 0, "latest": latest})
        low, high = conversation.marks[reader]
        mark = latest - entry["count"]          # a reader writes nothing: all that stands above the mark counts
        if entry["latest"] != latest or not low <= mark <= high:
            raise Failure(f"{reader}'s mark in {conversation.name}: {entry}, of {latest} messages; the last answered "
                          f"`read` was {low}, the last sent {high}")
        conversation.marks[reader] = [mark, mark]

    # --- Sending again

    def send_again(self, clients, sample):
        """What had no answer is sent again, and `sample` of what had one: each is there once afterwards. Returns how many
        were sent again."""
        again = {message.id: message for message in self.fresh if not message.answer}
        answered = [message for message in self.by_id.values() if message.answer]
        again |= {message.id: message for message in self.chance.sample(answered, min(sample, len(answered)))}
        listener = clients[self.readers[0]]
        listener.barrier()
        lengths = {conversation.name: len(conversation.kept) for conversation in self.conversations.values()}
        for sender in self.senders:
            self.send_again_of(clients[sender], [one for one in again.values() if one.sender == sender])
        self.check_pushes(listener, lengths)
        for conversation in self.conversations.values():
            reader, before = conversation.members[-1], lengths[conversation.name]
            tail = history(clients[reader], conversation.where(reader), before)
            if [(entry["msg_id"], entry["text"]) for entry in tail] != [
                    (number, message.text) for number, message in enumerate(conversation.kept[before:], before + 1)]:
                raise Failure(f"{conversation.name}: what was sent again is not there once, after {before}: "
                              + ", ".join(f"{entry['msg_id']} {entry['text'][:20]!r}" for entry in tail))
        self.fresh = []
        return len(again)

    @staticmethod
    def send_again_of(client, messages):
        requests = [(cmd, {"text": message.text, "id": message.id, **fields})
                    for message in messages for cmd, fields in [message.conversation.address(message.sender)]]
        for message, seq in zip(messages, client.send_many(requests)):
            reply = client.reply(seq)
            kept = message.conversation.kept
            if reply.result not in ("success", "offline"):
                raise Failure(f"Sent again, it was answered {reply}.\n{message.story()}")
            place = reply["msg_id"], reply["time"]
            if message.stood_at:
                if place != message.stood_at:
                    raise Failure(f"Sent again, it was answered with {place}.\n{message.story()}")
            elif place[0] != len(kept) + 1:
                raise Failure(f"Sent again, it got number {place[0]} after {len(kept)} messages.\n{message.story()}")
            else:
                kept.append(message)
            message.answer = message.stood_at = place

    def check_pushes(self, listener, lengths):
        """What was there already is not pushed again; what was not is pushed once."""
        got = [push for push in listener.barrier() if push.name.endswith("chat_recv")]
        pushed = sorted(self.of_push(push, listener.user.name).id for push in got)
        new = sorted(message.id for conversation in self.conversations.values() if listener.user.name in conversation.members
                     for message in conversation.kept[lengths[conversation.name]:])
        if pushed != new:
            raise Failure(f"After sending again, {listener.user.name} got pushes of {pushed}; new were {new}")


def history(client, where, after=0):
    """All messages of the conversation above `after`, oldest first."""
    messages, more = [], True
    while more:
        reply = client.ok("history", limit=PAGE, after=messages[-1]["msg_id"] if messages else after, **where)
        messages += reply["messages"]
        more = reply["more"]
    return messages


def gaps(numbers):
    return [(one, two) for one, two in zip([0, *numbers], numbers) if two != one + 1][:5]
