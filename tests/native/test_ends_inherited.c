/* test_ends_inherited.c - ends that come along with a fork, or are handed over. */
#include "sides.h"

/* --- fork ------------------------------------------------------------------------------------------------ */

struct pair {
    struct ipcr_segment *segment;
    struct ipcr_end *w, *r;
    int held;
};

static void use_what_the_parent_uses(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    uint32_t by;
    int held;
    CHECK_IS(send_text(p->w, "from the child"), IPCR_FORKED);
    CHECK_IS(send_until(p->w, "x", 1, 0), IPCR_FORKED);
    CHECK_IS(ipcr_claim(p->w, 1), IPCR_FORKED);
    CHECK_IS(ipcr_commit(p->w, 1, 0), IPCR_FORKED);
    CHECK_IS(ipcr_abort(p->w), IPCR_FORKED);
    CHECK_IS(ipcr_recv(p->r, received), IPCR_FORKED);
    CHECK_IS(recv_batch(p->r, received, 10, 1), IPCR_FORKED);
    CHECK_IS(recv_until(p->r, IPCR_FOREVER), IPCR_FORKED);
    CHECK_IS(ipcr_release(p->r), IPCR_FORKED);
    CHECK_IS(ipcr_end_take(p->w, &by), IPCR_FORKED);
    CHECK_IS(ipcr_end_hand_over(p->w, true, true, &held), IPCR_FORKED);
    /* a handle of its own doesn't help: the parent has the end */
    struct ipcr_end *own = open_end(p->segment, IPCR_SENDER);
    CHECK_IS(ipcr_end_take(own, &by), IPCR_TAKEN);
    CHECK_IS(by, getppid());
    finish(own, true);
    finish(p->w, true); /* nothing that the parent would notice */
    finish(p->r, true);
    say(mouth, 'd');
    (void)hear(ear);
}

static void an_end_in_use_in_the_parent_is_forked_in_the_child(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    p.w = taken(p.segment, IPCR_SENDER);
    p.r = taken(p.segment, IPCR_RECEIVER);
    CHECK_IS(send_text(p.w, "before"), IPCR_OK);
    CHECK_IS(ipcr_peek(p.r), 6);
    struct child c = child_start(use_what_the_parent_uses, &p);
    CHECK_IS(hear(c.ear), 'd');
    CHECK_IS(ipcr_release(p.r), IPCR_OK);
    CHECK_IS(send_text(p.w, "after"), IPCR_OK);
    check_receives(p.r, "after");
    say(c.mouth, 'q');
    child_finish(&c);
    CHECK_IS(send_text(p.w, "and after"), IPCR_OK);
    check_receives(p.r, "and after");
    finish(p.w, true);
    CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

static void take_what_the_parent_claimed(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    uint32_t by;
    const char word = hear(ear);
    if (word == 'n')
        return; /* ends without having used it */
    CHECK_IS(ipcr_end_take(p->w, &by), IPCR_OK);
    CHECK_IS(send_text(p->w, "from the child"), IPCR_OK);
    say(mouth, 's');
    if (hear(ear) == 'c')
        ipcr_end_close(p->w, true);
}

static void an_untaken_end_is_claimed_by_a_forked_child_from_its_first_instant(void)
{
    const char words[] = { 'n', 'c', 'k' };
    for (int round = 0; round < FEWER(30, 15); round++) {
        const char word = words[round % 3];
        struct pair p = { .segment = anonymous(CAPACITY, 0) };
        p.r = taken(p.segment, IPCR_RECEIVER);
        p.w = open_end(p.segment, IPCR_SENDER);
        struct child c = child_start(take_what_the_parent_claimed, &p);
        finish(p.w, true); /* at once */
        for (int i = 0; i < 20; i++)
            CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY); /* each asks the kernel */
        say(c.mouth, word);
        if (word == 'n') {
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
            child_finish(&c);
        } else {
            check_receives(p.r, "from the child");
            CHECK_IS(hear(c.ear), 's');
            if (word == 'c') {
                say(c.mouth, 'c');
                CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
                child_finish(&c);
            } else {
                child_kill(&c);
                CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_PEER_DIED);
            }
        }
        finish(p.r, true);
        ipcr_segment_release(p.segment);
    }
}

static void take_and_fork(int ear, int mouth, void *arg)
{
    (void)taken(arg, IPCR_SENDER);
    const pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) { /* lives until the test closes the pipe */
        say(mouth, 'g');
        while (hear(ear) != 0)
            ;
        _exit(0);
    }
    wait_for_end();
}

static void a_taker_that_forks_and_is_killed_is_dead_although_its_child_lives(void)
{
    struct ipcr_segment *s = anonymous(CAPACITY, 0);
    struct ipcr_end *r = taken(s, IPCR_RECEIVER);
    struct child c = child_start(take_and_fork, s);
    CHECK_IS(hear(c.ear), 'g');
    CHECK_IS(recv_until(r, 0), IPCR_EMPTY);
    CHECK(kill(c.pid, SIGKILL) == 0 && waitpid(c.pid, NULL, 0) == c.pid);
    CHECK_IS(recv_until(r, IPCR_FOREVER), IPCR_PEER_DIED);
    close(c.mouth);
    CHECK_IS(hear(c.ear), 0); /* the grandchild lived until now */
    close(c.ear);
    finish(r, true);
    ipcr_segment_release(s);
}

static void free_ends(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    (void)ear;
    (void)mouth;
    ipcr_end_free(p->r); /* closed in the parent, with a message lent: counts down once */
    CHECK_IS(p->segment->references, 1);
    CHECK(p->segment->data[0] == p->segment->data[CAPACITY]); /* still mapped */
    ipcr_segment_release(p->segment);
}

static void a_fork_between_close_and_return_of_a_lent_message_counts_right(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    p.w = taken(p.segment, IPCR_SENDER);
    p.r = taken(p.segment, IPCR_RECEIVER);
    CHECK_IS(send_text(p.w, "lent"), IPCR_OK);
    CHECK_IS(ipcr_peek(p.r), 4);
    ipcr_end_close(p.r, true);
    finish(p.w, true);
    CHECK(memcmp(ipcr_lent(p.r), "lent", 4) == 0); /* mapped as long as it is lent */
    CHECK_IS(p.segment->references, 2);
    struct child c = child_start(free_ends, &p);
    child_finish(&c);
    CHECK_IS(ipcr_release(p.r), IPCR_CLOSED);
    CHECK_IS(p.segment->references, 1);
    ipcr_end_free(p.r);
    ipcr_segment_release(p.segment);
}

/* --- handing over ----------------------------------------------------------------------------------------- */

static void adopt_role(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    CHECK_IS(ipcr_parcel_keep(p->held), IPCR_OK);
    CHECK_IS(ipcr_end_adopt_role(p->w, p->held), IPCR_OK);
    CHECK(fcntl(p->held, F_GETFD) < 0 && errno == EBADF);
    CHECK_IS(send_text(p->w, "adopted"), IPCR_OK);
    say(mouth, 'a');
    if (hear(ear) == 'c')
        ipcr_end_close(p->w, true);
}

static void an_end_can_be_taken_in_a_forked_childs_name(void)
{
    for (int round = 0; round < 2; round++) {
        struct pair p = { .segment = anonymous(CAPACITY, 0) };
        uint32_t by;
        p.r = taken(p.segment, IPCR_RECEIVER);
        p.w = open_end(p.segment, IPCR_SENDER);
        CHECK_IS(ipcr_end_hand_over(p.w, true, true, &p.held), IPCR_OK);
        CHECK_IS(side_of(p.segment, IPCR_SENDER).state, IPCR_END_TAKEN);
        CHECK_IS(ipcr_end_take(p.w, &by), IPCR_TAKEN); /* it is the child's */
        struct child c = child_start(adopt_role, &p);
        ipcr_parcel_close(p.held);
        CHECK(fcntl(p.held, F_GETFD) < 0 && errno == EBADF);
        finish(p.w, true);
        check_receives(p.r, "adopted");
        CHECK_IS(hear(c.ear), 'a');
        CHECK_IS(side_of(p.segment, IPCR_SENDER).pid, c.pid);
        CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY);
        if (round == 0) {
            child_kill(&c);
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_PEER_DIED);
        } else {
            say(c.mouth, 'c');
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
            child_finish(&c);
        }
        finish(p.r, true);
        ipcr_segment_release(p.segment);
    }
}

static void a_child_that_dies_before_it_adopts_is_a_dead_taker(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    p.r = taken(p.segment, IPCR_RECEIVER);
    p.w = open_end(p.segment, IPCR_SENDER);
    CHECK_IS(ipcr_end_hand_over(p.w, true, true, &p.held), IPCR_OK);
    struct child c = child_start(take_and_wait, anonymous(CAPACITY, 0)); /* has the parcel, does nothing with it */
    ipcr_parcel_close(p.held);
    CHECK_IS(recv_until(p.r, in_ms(1)), IPCR_EMPTY); /* not dead yet */
    child_kill(&c);
    CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_PEER_DIED);
    uint32_t by;
    CHECK_IS(ipcr_end_take(p.w, &by), IPCR_OK); /* a successor */
    CHECK_IS(send_text(p.w, "instead"), IPCR_OK);
    check_receives(p.r, "instead");
    finish(p.w, true);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

static void taking_back_leaves_the_end_as_it_was(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    uint32_t by;
    p.r = taken(p.segment, IPCR_RECEIVER);
    p.w = open_end(p.segment, IPCR_SENDER);
    for (int round = 0; round < 3; round++) {
        const bool with_role = round != 1;
        CHECK_IS(ipcr_end_hand_over(p.w, with_role, round == 2, &p.held), IPCR_OK);
        ipcr_end_take_back(p.w, p.held, with_role);
        CHECK(fcntl(p.held, F_GETFD) < 0 && errno == EBADF);
        CHECK_IS(side_of(p.segment, IPCR_SENDER).state, IPCR_END_UNTAKEN);
        CHECK_IS(side_of(p.segment, IPCR_SENDER).alive, 0);
        CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY);
    }
    CHECK_IS(ipcr_end_take(p.w, &by), IPCR_OK);
    CHECK_IS(send_text(p.w, "mine"), IPCR_OK);
    check_receives(p.r, "mine");
    /* what is in use stays here; what is closed or another's can't be given */
    CHECK_IS(ipcr_end_hand_over(p.w, true, false, &p.held), IPCR_IN_USE);
    CHECK_IS(ipcr_end_hand_over(p.w, false, false, &p.held), IPCR_IN_USE);
    struct ipcr_end *second = open_end(p.segment, IPCR_SENDER);
    CHECK_IS(ipcr_end_hand_over(second, true, false, &p.held), IPCR_TAKEN);
    ipcr_end_close(second, true);
    CHECK_IS(ipcr_end_hand_over(second, true, false, &p.held), IPCR_CLOSED);
    ipcr_end_free(second);
    finish(p.w, true);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

static void look_for_descriptor(int ear, int mouth, void *arg)
{
    const struct pair *p = arg;
    CHECK(fcntl(p->held, F_GETFD) < 0 && errno == EBADF);
    CHECK_IS(ipcr_parcel_keep(p->held), IPCR_NOT_FOUND);
    say(mouth, 'n');
    (void)hear(ear);
}

static void a_forked_bystander_does_not_keep_a_parcel(void)
{
    struct pair p = { .segment = anonymous(CAPACITY, 0) };
    p.r = taken(p.segment, IPCR_RECEIVER);
    p.w = open_end(p.segment, IPCR_SENDER);
    CHECK_IS(ipcr_end_hand_over(p.w, true, false, &p.held), IPCR_OK); /* for a child that is exec'ed */
    struct child c = child_start(look_for_descriptor, &p);
    CHECK_IS(hear(c.ear), 'n');
    CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY);
    ipcr_parcel_close(p.held); /* the receiver of the parcel never came to life */
    CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_PEER_DIED); /* although the bystander lives */
    say(c.mouth, 'q');
    child_finish(&c);
    finish(p.w, true);
    finish(p.r, true);
    ipcr_segment_release(p.segment);
}

/* A process that shares nothing with us but a socket, as after exec: descriptors arrive through it. */
static int stranger_socket;

static void send_descriptors(int a, int b)
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    char word = 'f';
    struct iovec io = { .iov_base = &word, .iov_len = 1 };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    const int fds[2] = { a, b };
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    CHECK(sendmsg(stranger_socket, &m, 0) == 1);
}

static void receive_descriptors(int socket, int fds[2])
{
    union {
        struct cmsghdr align;
        char room[CMSG_SPACE(2 * sizeof(int))];
    } control;
    char word;
    struct iovec io = { .iov_base = &word, .iov_len = 1 };
    struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
    CHECK(recvmsg(socket, &m, MSG_CMSG_CLOEXEC) == 1);
    memcpy(fds, CMSG_DATA(CMSG_FIRSTHDR(&m)), 2 * sizeof(int));
}

struct acquaintance {
    int socket;
    bool taken;
};

static void be_a_stranger(int ear, int mouth, void *arg)
{
    const struct acquaintance *a = arg;
    int fds[2];
    struct ipcr_segment *s;
    struct ipcr_end *e = NULL;
    receive_descriptors(a->socket, fds);
    CHECK_IS(ipcr_segment_attach(fds[0], NULL, NULL, IPCR_KIND_RING, true, &s), IPCR_OK);
    CHECK_IS(ipcr_end_adopt(s, IPCR_SENDER, 0, fds[1], a->taken, &e), IPCR_OK);
    ipcr_segment_release(s); /* the end refers to it */
    say(mouth, 'a');
    CHECK_IS(hear(ear), 'u');
    uint32_t by;
    CHECK(ipcr_end_in_use(e) == a->taken);
    CHECK_IS(ipcr_end_take(e, &by), IPCR_OK);
    CHECK_IS(send_text(e, "from a stranger"), IPCR_OK);
    say(mouth, 's');
    CHECK_IS(hear(ear), 'q');
    finish(e, true);
}

static void an_end_can_be_handed_to_a_process_that_is_not_forked(void)
{
    for (int round = 0; round < 4; round++) {
        int sockets[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
        struct acquaintance a = { .socket = sockets[1], .taken = round % 2 == 0 };
        struct child c = child_start(be_a_stranger, &a); /* before there is anything to inherit */
        stranger_socket = sockets[0];
        struct pair p = { .segment = anonymous(CAPACITY, 0) };
        p.r = taken(p.segment, IPCR_RECEIVER);
        p.w = open_end(p.segment, IPCR_SENDER);
        CHECK_IS(ipcr_end_hand_over(p.w, a.taken, false, &p.held), IPCR_OK);
        send_descriptors(p.segment->fd, p.held);
        ipcr_parcel_close(p.held);
        finish(p.w, true);
        close(sockets[1]);
        for (int i = 0; i < 10; i++)
            CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY); /* on its way, or there: never unknown */
        CHECK_IS(hear(c.ear), 'a');
        CHECK_IS(recv_until(p.r, 0), IPCR_EMPTY);
        if (round < 2) {
            say(c.mouth, 'u');
            check_receives(p.r, "from a stranger");
            CHECK_IS(hear(c.ear), 's');
            say(c.mouth, 'q');
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), IPCR_END_OF_CHANNEL);
            child_finish(&c);
        } else {
            child_kill(&c);
            CHECK_IS(recv_until(p.r, IPCR_FOREVER), a.taken ? IPCR_PEER_DIED : IPCR_END_OF_CHANNEL);
        }
        close(sockets[0]);
        finish(p.r, true);
        ipcr_segment_release(p.segment);
    }
}

int main(void)
{
    check_begin();
    run("an end in use in the parent is forked in the child", an_end_in_use_in_the_parent_is_forked_in_the_child);
    run("an untaken end is claimed by a forked child from its first instant",
        an_untaken_end_is_claimed_by_a_forked_child_from_its_first_instant);
    run("a taker that forks and is killed is dead, although its child lives",
        a_taker_that_forks_and_is_killed_is_dead_although_its_child_lives);
    run("a fork between close and return of a lent message counts right",
        a_fork_between_close_and_return_of_a_lent_message_counts_right);
    run("an end can be taken in a forked child's name", an_end_can_be_taken_in_a_forked_childs_name);
    run("a child that dies before it adopts is a dead taker", a_child_that_dies_before_it_adopts_is_a_dead_taker);
    run("taking back leaves the end as it was", taking_back_leaves_the_end_as_it_was);
    run("a forked bystander does not keep a parcel", a_forked_bystander_does_not_keep_a_parcel);
    run("an end can be handed to a process that is not forked",
        an_end_can_be_handed_to_a_process_that_is_not_forked);
    return check_finish();
}
