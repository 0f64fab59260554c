"""Every change but a message, as walks: after a kill a walk stands where its last answer was, or a little further on.

Idea.       A walk is an endless row of requests of which each changes what is stored, and of which one knows what has to
            be there after the first k of them. So when k were answered `success` and n were sent before the kill, what
            is there afterwards must be the state after k, or k + 1, ... or n requests: no answered change is lost, and
            none is half there. The walk goes on from the state that was found.
"""

from harness import User

from servers import Failure

AHEAD = 8           # requests under way of a walk on one connection


class Walk:
    """`users` act in it, each on a connection; request(k) = (which of them, cmd, fields) makes state k + 1 of state k."""

    ahead = 1       # requests under way: more than one only when one connection sends them all
    users = ()

    def __init__(self, name):
        self.name = name
        self.sent = self.answered = 0

    def set_up(self, client):
        """Before the first request, on a connection that nobody is logged in on."""
        for user in self.users:
            client.register(user)

    def settle(self, connect):
        """After a restart: find out what is there, fail when it is no possible state, and go on from there."""
        found = self.observe(connect)
        possible = {k: self.state(k) for k in range(self.answered, self.sent + 1)}
        steps = [k for k, state in possible.items() if state == found]
        if not steps:
            raise Failure(f"{self.name}: {self.answered} changes were answered, {self.sent} sent.\n"
                          f"  There is    {found}\n"
                          + "".join(f"  possible is {state}: after {k}\n" for k, state in possible.items())
                          + f"  The last answered change: {self.request(self.answered - 1)[1:] if self.answered else None}")
        self.sent = self.answered = steps[0]

    def screen(self, connect, user):
        with connect(user.name) as client:
            return client.login(user).payload


class Registering(Walk):
    """Accounts, one after the other, with a password and a profile of their own."""

    ahead = AHEAD

    def __init__(self, name):
        super().__init__(name)
        self.users = (User(name, "registers others"),)
        self.found = 0          # accounts that were looked at after a restart

    def account(self, k):
        return User(f"{self.name}-{k}", f"password {k}")

    def request(self, k):
        user = self.account(k)
        return 0, "register", {"user": user.name, "passwd": user.passwd, "name": f"number {k}"}

    def settle(self, connect):
        with connect(self.name) as client:
            there = [self.look(client, k) for k in range(self.found, self.sent)]
        count = self.found + (there.index(False) if False in there else len(there))
        if count < self.answered or True in there[count - self.found:]:
            missing = [self.found + n for n, here in enumerate(there) if not here]
            raise Failure(f"{self.name}: {self.answered} registrations were answered, {self.sent} sent; these are not "
                          f"there: {missing[:20]}")
        self.found = self.sent = self.answered = count

    def look(self, client, k):
        """Is there the account, whole?"""
        user = self.account(k)
        reply = client.request("login", user=user.name, passwd=user.passwd)
        if reply.result == "user_not_exist":
            return False
        client.must(reply, "success")
        client.must(client.ok("profile_get", user=user.name), "success", name=f"number {k}")
        client.ok("logout")
        return True


class Passwords(Walk):
    """One account's password, changed again and again."""

    ahead = 2

    def __init__(self, name):
        super().__init__(name)

    @property
    def users(self):
        return (User(self.name, f"password {self.answered}"),)

    def request(self, k):
        return 0, "passwd", {"old": f"password {k}", "new": f"password {k + 1}"}

    def observe(self, connect):
        """The passwords that open the account; also the one before the last answered must not."""
        results = {}
        for k in range(max(0, self.answered - 1), self.sent + 1):
            with connect(self.name) as client:
                results[k] = client.request("login", user=self.name, passwd=f"password {k}").result
        return [k for k, result in results.items() if result == "success"]

    def state(self, k):
        return [k]


class Profile(Walk):
    """One profile: all of its fields change together."""

    ahead = AHEAD

    def __init__(self, name):
        super().__init__(name)
        self.users = (User(name, "a profile"),)

    def request(self, k):
        return 0, "profile_set", self.state(k + 1)

    def state(self, k):
        return {"name": f"name {k}", "age": k % 151, "address": f"{k} Tea Lane"} if k else {
            "name": "", "age": 0, "address": ""}

    def observe(self, connect):
        with connect(self.name) as client:
            client.login(self.users[0])
            profile = client.ok("profile_get", user=self.name)
            return {key: profile[key] for key in ("name", "age", "address")}


class Friendship(Walk):
    """Two who ask, accept, reject, end it, and ask each other at once."""

    STEPS = (("add", 0), ("accept", 1), ("remove", 0), ("add", 1), ("reject", 0), ("add", 1), ("add", 0), ("remove", 1))

    def __init__(self, name):
        super().__init__(name)
        self.users = (User(f"{name}-a", "one of two"), User(f"{name}-b", "the other"))

    def request(self, k):
        what, who = self.STEPS[k % len(self.STEPS)]
        other = {"user": self.users[1 - who].name}
        return who, *{"add": ("friend_add", {**other, "text": f"for the {k}th time"}),
                      "accept": ("friend_answer", {**other, "accept": True}),
                      "reject": ("friend_answer", {**other, "accept": False}),
                      "remove": ("friend_remove", other)}[what]

    def state(self, k):
        """What each of them has: a request of the other with its text, and is he a friend?"""
        requests, friends = [None, None], False
        start = k - k % len(self.STEPS)
        for number in range(start, k):
            what, who = self.STEPS[number % len(self.STEPS)]
            if what == "add" and requests[who] is None:
                requests[1 - who] = f"for the {number}th time"
                continue
            friends = what in ("add", "accept")
            requests = [None, None]
        return [{"requests": requests[who], "friends": friends} for who in (0, 1)]

    def observe(self, connect):
        screens = [self.screen(connect, user) for user in self.users]
        return [{"requests": screen["requests"][0]["text"] if screen["requests"] else None,
                 "friends": bool(screen["friends"])} for screen in screens]


class Membership(Walk):
    """A group that is made, joined, left, joined, kicked out of, joined and dismissed; and made again."""

    STEPS = ("group_create", "group_join", "group_leave", "group_join", "group_kick", "group_join", "group_dismiss")

    def __init__(self, name):
        super().__init__(name)
        self.users = (User(f"{name}-owner", "the owner"), User(f"{name}-other", "the other"))

    def request(self, k):
        cmd = self.STEPS[k % len(self.STEPS)]
        fields = {"group": self.name}
        if cmd == "group_create":
            fields["title"] = self.title(k)
        if cmd == "group_kick":
            fields["user"] = self.users[1].name
        return int(cmd in ("group_join", "group_leave")), cmd, fields

    def title(self, k):
        return f"made for the {k // len(self.STEPS)}th time"

    def state(self, k):
        """The title of the group that the owner has, and the one that the other has."""
        step = k % len(self.STEPS)
        return [self.title(k) if step >= 1 else None, self.title(k) if step in (2, 4, 6) else None]

    def observe(self, connect):
        titles = [[group["title"] for group in self.screen(connect, user)["groups"]] for user in self.users]
        return [titles[0][0] if titles[0] else None, titles[1][0] if titles[1] else None]


def walks(life):
    """Those of one life of the data: names must be new in it."""
    return [Registering(f"{life}-new"), Passwords(f"{life}-passwd"), Profile(f"{life}-profile"),
            Friendship(f"{life}-friends1"), Friendship(f"{life}-friends2"),
            Membership(f"{life}-group1"), Membership(f"{life}-group2")]
