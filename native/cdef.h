/* What Python may call.  cffi reads this file: no preprocessor beyond "#define NAME ...".  The contract
 * of each function stands beside its C declaration (segment.h, ends.h, transfer.h, stats.h, os.h). */
#define IPCR_OK ...
#define IPCR_FULL ...
#define IPCR_EMPTY ...
#define IPCR_TOO_LARGE ...
#define IPCR_CORRUPT ...
#define IPCR_BUSY ...
#define IPCR_CLOSED ...
#define IPCR_END_OF_CHANNEL ...
#define IPCR_PEER_DIED ...
#define IPCR_FORKED ...
#define IPCR_TAKEN ...
#define IPCR_NOT_TAKEN ...
#define IPCR_AGAIN ...
#define IPCR_EXISTS ...
#define IPCR_NOT_FOUND ...
#define IPCR_UNTRUSTED ...
#define IPCR_NOT_OURS ...
#define IPCR_VERSION ...
#define IPCR_KIND ...
#define IPCR_TIME_NAMESPACE ...
#define IPCR_LENT ...
#define IPCR_NOTHING_LENT ...
#define IPCR_NAME_BUSY ...
#define IPCR_IN_USE ...
#define IPCR_IN_PARTS ...
#define IPCR_GIVEN_UP ...
#define IPCR_WRONG_SIDE ...
#define IPCR_LEASE_LOST ...
#define IPCR_SHUT_DOWN ...
#define IPCR_LAGGED_OUT ...
#define IPCR_ERRNO_BASE ...

#define IPCR_FORMAT_VERSION ...
#define IPCR_KIND_RING ...
#define IPCR_KIND_CHANNEL ...
#define IPCR_KIND_QUEUE ...
#define IPCR_KIND_RELIABLE ...
#define IPCR_KIND_MULTICAST ...
#define IPCR_MOST_SUBSCRIBERS ...
#define IPCR_MOST_TOPIC ...
#define IPCR_LOSSLESS ...
#define IPCR_LOSSY ...
#define IPCR_WAIT_FOR_LAGGARDS ...
#define IPCR_EVICT_LAGGARDS ...
#define IPCR_START_LATEST ...
#define IPCR_START_OLDEST ...
#define IPCR_START_SEQUENCE ...
#define IPCR_LAP_TO_OLDEST ...
#define IPCR_LAP_TO_LATEST ...
#define IPCR_NO_SUBSCRIBER ...
#define IPCR_CURSOR_JOINING ...
#define IPCR_CURSOR_ACTIVE ...
#define IPCR_CURSOR_EVICTED ...
#define IPCR_MOST_HOLDERS ...
#define IPCR_MOST_DELIVERIES ...
#define IPCR_MOST_LANES ...
#define IPCR_MOST_LANES_EACH ...
#define IPCR_REMEMBERED_DEAD ...
#define IPCR_LONGEST_LEASE_NS ...
#define IPCR_FREE ...
#define IPCR_READY ...
#define IPCR_LEASED ...
#define IPCR_ACKED ...
#define IPCR_DEAD ...
#define IPCR_KEPT ...
#define IPCR_KEPT_DELIVERIES ...
#define IPCR_KEPT_EXPIRED ...
#define IPCR_OPEN ...
#define IPCR_DRAINING ...
#define IPCR_SHUT ...
#define IPCR_SENDER ...
#define IPCR_RECEIVER ...
#define IPCR_END_UNTAKEN ...
#define IPCR_END_TAKEN ...
#define IPCR_END_CLOSED ...
#define IPCR_REMOVE_ALWAYS ...
#define IPCR_REMOVE_ORPHAN ...
#define IPCR_BYTES ...
#define IPCR_PICKLE ...
#define IPCR_ARRAY ...
#define IPCR_PICKLE_BUFFERS ...
#define IPCR_DATA_ALIGNMENT ...
#define IPCR_SMALL ...
#define IPCR_MOST_PIECES ...
#define IPCR_RESULT_ENCODING_SHIFT ...
#define IPCR_RESULT_SKEW_SHIFT ...
#define IPCR_MAX_CAPACITY ...
#define IPCR_RECORD_HEADER ...

struct ipcr_segment;
struct ipcr_end;

uint64_t ipcr_segment_footprint(uint64_t capacity);
uint64_t ipcr_round_capacity(uint64_t wanted);
int ipcr_segment_create(char const *dir, char const *name, uint32_t kind, uint64_t capacity,
                        uint64_t start_position, struct ipcr_segment **out);
int ipcr_segment_attach(int fd, char const *dir, char const *name, uint32_t kind, bool handed_over,
                        struct ipcr_segment **out);
void ipcr_segment_release(struct ipcr_segment *segment);
int ipcr_segment_unlink(struct ipcr_segment *segment);
int ipcr_segment_fd(struct ipcr_segment const *segment);
uint64_t ipcr_segment_capacity(struct ipcr_segment const *segment);
int ipcr_name_remove(char const *dir, char const *name, int removal);

int ipcr_end_open(struct ipcr_segment *segment, uint32_t side, uint64_t spin_ns, struct ipcr_end **out);
int ipcr_end_adopt(struct ipcr_segment *segment, uint32_t side, uint64_t spin_ns, int held, bool taken,
                   struct ipcr_end **out);
int ipcr_end_adopt_role(struct ipcr_end *end, int held);
int ipcr_end_take(struct ipcr_end *end, uint32_t *by);
int ipcr_end_hand_over(struct ipcr_end *end, bool with_role, bool for_fork, int *held);
void ipcr_end_take_back(struct ipcr_end *end, int held, bool with_role);
void ipcr_end_close(struct ipcr_end *end, bool clean);
void ipcr_end_free(struct ipcr_end *end);
void ipcr_end_drain(struct ipcr_end *end);
bool ipcr_end_is_lent(struct ipcr_end const *end);
bool ipcr_end_is_ours(struct ipcr_end const *end);
bool ipcr_end_in_use(struct ipcr_end const *end);
uint32_t ipcr_end_peer_pid(struct ipcr_end const *end);
int ipcr_parcel_add(int fd, bool for_fork);
void ipcr_parcel_close(int fd);
int ipcr_parcel_keep(int fd);

int ipcr_send(struct ipcr_end *e, char const *message, uint64_t length, uint64_t info);
int ipcr_send_bytes(struct ipcr_end *e, char const *message, uint64_t length);
int ipcr_send_wait(struct ipcr_end *e, char const *message, uint64_t length, uint64_t info, uint64_t deadline_ns,
                   int resume);
struct ipcr_piece {
    char const *data;
    uint64_t length;
};
int ipcr_send_pieces(struct ipcr_end *e, struct ipcr_piece const *pieces, uint64_t count, uint64_t info);
int ipcr_send_pieces_wait(struct ipcr_end *e, struct ipcr_piece const *pieces, uint64_t count, uint64_t info,
                          uint64_t deadline_ns, int resume);
int ipcr_send_parts_wait(struct ipcr_end *e, struct ipcr_piece const *pieces, uint64_t count, uint64_t info,
                         uint64_t deadline_ns, int resume);
int64_t ipcr_send_many(struct ipcr_end *e, char const *messages, uint64_t const *lengths, uint64_t const *counts,
                       uint64_t const *infos, uint64_t messages_count);
int ipcr_room_wait(struct ipcr_end *e, uint64_t length, uint64_t deadline_ns, int resume);
int ipcr_flush_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume);
int ipcr_claim(struct ipcr_end *e, uint64_t length);
int ipcr_commit(struct ipcr_end *e, uint64_t length, uint64_t info);
int ipcr_abort(struct ipcr_end *e);
int ipcr_take_back(struct ipcr_end *e);
struct ipcr_inbox {
    struct ipcr_end *end;
    char bytes[...];
};
int64_t ipcr_recv_into(struct ipcr_inbox *inbox);
int64_t ipcr_try_recv_into(struct ipcr_inbox *inbox);
int64_t ipcr_recv_wait(struct ipcr_end *e, char *out, uint64_t deadline_ns, int resume);
int64_t ipcr_recv_many(struct ipcr_end *e, char *out, uint64_t room, int64_t *results, uint64_t most,
                       bool take_raw, uint64_t *from);
int ipcr_skip(struct ipcr_end *e, uint64_t from, uint64_t count);
int64_t ipcr_parts_begin(struct ipcr_end *e);
int ipcr_parts_read(struct ipcr_end *e, char *out, uint64_t from, uint64_t upto, uint64_t deadline_ns, int resume);
uint64_t ipcr_parts_done(struct ipcr_end const *e);
int ipcr_data_wait(struct ipcr_end *e, uint64_t deadline_ns, int resume);
int64_t ipcr_peek(struct ipcr_end *e);
int ipcr_release(struct ipcr_end *e);
char *ipcr_lent(struct ipcr_end *e);
uint64_t ipcr_lent_skew(struct ipcr_end const *e);
uint64_t ipcr_last_info(struct ipcr_end *e);
uint64_t ipcr_last_sequence(struct ipcr_end *e);
int ipcr_peer_sometimes(struct ipcr_end *e);
void ipcr_stop_waiting(struct ipcr_end *e);

struct ipcr_side_stats {
    uint64_t messages;
    uint64_t bytes;
    uint64_t parked_ns;
    uint64_t high_water;
    uint32_t state;
    uint32_t generation;
    uint32_t pid;
    uint32_t alive;
    uint32_t claimed;
    ...;
};
struct ipcr_stats {
    uint32_t kind;
    uint32_t creator_pid;
    uint64_t capacity;
    uint64_t total_bytes;
    uint64_t uuid[2];
    uint32_t present;
    uint32_t named;
    struct ipcr_side_stats side[2];
    ...;
};
int ipcr_stats_of_file(int fd, struct ipcr_stats *out);
int ipcr_stats_of_segment(struct ipcr_segment const *segment, struct ipcr_stats *out);

struct ipcr_queue;
struct ipcr_queue_options {
    uint64_t slots;
    uint64_t maxsize;
    uint64_t lease_ns;
    uint64_t max_deliveries;
    uint64_t lanes_each;
    ...;
};
struct ipcr_put {
    uint64_t info;
    uint64_t ttl_ns;
    uint64_t id;
};
struct ipcr_lease {
    uint64_t held;
    uint64_t sequence;
    uint64_t id;
    uint64_t length;
    uint64_t info;
    uint64_t stamp_ns;
    char const *payload;
    uint32_t lane;
    uint32_t deliveries;
    uint32_t source;
    uint32_t skew;
    uint32_t generation;
};
struct ipcr_queue_inbox {
    struct ipcr_queue *queue;
    struct ipcr_lease lease;
    char bytes[...];
};
uint32_t ipcr_segment_lanes(struct ipcr_segment const *segment);
uint64_t ipcr_queue_footprint(uint32_t lanes);
uint64_t ipcr_lane_footprint(uint64_t slots, uint64_t capacity);
int ipcr_segment_create_queue(char const *dir, char const *name, uint32_t kind, uint64_t capacity, uint32_t lanes,
                              struct ipcr_queue_options const *options, uint64_t start_sequence,
                              struct ipcr_segment **out);
int ipcr_segment_hand_over(struct ipcr_segment *segment, int *held);
int ipcr_queue_open(struct ipcr_segment *segment, uint64_t spin_ns, struct ipcr_queue **out);
void ipcr_queue_close(struct ipcr_queue *q);
void ipcr_queue_free(struct ipcr_queue *q);
void ipcr_queue_get_options(struct ipcr_queue const *q, struct ipcr_queue_options *out);
int ipcr_queue_take_lane(struct ipcr_queue *q, bool may_allocate);
bool ipcr_queue_has_lane(struct ipcr_queue const *q);
int64_t ipcr_queue_put_one(struct ipcr_queue *q, char const *message, uint64_t length, uint64_t info, uint64_t ttl_ns);
int ipcr_queue_put_pieces(struct ipcr_queue *q, struct ipcr_piece const *pieces, uint64_t count, struct ipcr_put *put);
int64_t ipcr_queue_put_many(struct ipcr_queue *q, char const *messages, uint64_t const *lengths, uint64_t const *infos,
                            uint64_t count, uint64_t ttl_ns, uint64_t *ids);
int ipcr_queue_wait_for_room(struct ipcr_queue *q, uint64_t length, uint64_t deadline_ns);
int64_t ipcr_queue_get_into(struct ipcr_queue_inbox *inbox);
int64_t ipcr_queue_try_get_into(struct ipcr_queue_inbox *inbox);
int64_t ipcr_queue_lease_many(struct ipcr_queue *q, char *out, uint64_t room, struct ipcr_lease *leases,
                              int64_t *results, uint64_t most);
uint64_t ipcr_lease_end_many(struct ipcr_queue *q, struct ipcr_lease const *leases, uint64_t count, uint64_t taken);
int64_t ipcr_queue_lease_into(struct ipcr_queue_inbox *inbox, struct ipcr_lease *lease, uint64_t lease_ns);
int ipcr_lease_copy(struct ipcr_queue *q, struct ipcr_lease const *lease, char *out);
int ipcr_lease_ack(struct ipcr_queue *q, struct ipcr_lease const *lease);
int ipcr_lease_nack(struct ipcr_queue *q, struct ipcr_lease const *lease, uint64_t delay_ns);
int ipcr_lease_extend(struct ipcr_queue *q, struct ipcr_lease *lease, uint64_t lease_ns);
bool ipcr_lease_is_held(struct ipcr_queue *q, const struct ipcr_lease *lease);
int ipcr_lease_bury(struct ipcr_queue *q, struct ipcr_lease const *lease);
int ipcr_lease_keep(struct ipcr_queue *q, struct ipcr_lease const *lease, uint32_t why);
int ipcr_lease_requeue(struct ipcr_queue *q, struct ipcr_lease const *lease);
int ipcr_queue_wait_for_message(struct ipcr_queue *q, uint64_t deadline_ns);
int ipcr_queue_next_kept(struct ipcr_queue *q, uint64_t after, struct ipcr_lease *out, uint32_t *why);
int64_t ipcr_queue_purge(struct ipcr_queue *q, bool with_kept);
int ipcr_queue_outcome(struct ipcr_queue *q, uint64_t id);
int ipcr_queue_wait_for_outcome(struct ipcr_queue *q, uint64_t id, uint64_t deadline_ns);
int64_t ipcr_queue_depth(struct ipcr_queue *q);
int ipcr_queue_is_full(struct ipcr_queue *q);
int ipcr_queue_task_done(struct ipcr_queue *q);
int ipcr_queue_finish_many(struct ipcr_queue *q, uint64_t count);
bool ipcr_queue_all_finished(struct ipcr_queue *q);
int ipcr_queue_wait_for_finish(struct ipcr_queue *q, uint64_t deadline_ns);
int ipcr_queue_shut(struct ipcr_queue *q, uint32_t how);
uint64_t ipcr_queue_returns(struct ipcr_queue const *q);
uint32_t ipcr_queue_shutdown_state(struct ipcr_queue const *q);

struct ipcr_lane_stats {
    uint64_t put;
    uint64_t delivered;
    uint64_t redelivered;
    uint64_t acknowledged;
    uint64_t dead;
    uint64_t ready;
    uint64_t leased;
    uint64_t kept;
    uint64_t bytes;
    uint64_t bytes_left;
    uint64_t blocking_id;
    uint64_t blocking_ns;
    uint64_t parked_ns;
    uint64_t high_water;
    uint32_t blocking_pid;
    uint32_t producer_pid;
    uint32_t used;
    uint32_t alive;
};
struct ipcr_holder_stats {
    uint32_t pid;
    uint32_t alive;
};
struct ipcr_queue_stats {
    uint32_t kind;
    uint32_t creator_pid;
    uint64_t capacity;
    uint32_t lanes;
    uint32_t present;
    uint32_t named;
    uint32_t shutdown;
    uint32_t holders_count;
    struct ipcr_holder_stats holders[64];
    struct ipcr_queue_options options;
    ...;
};
int ipcr_queue_stats(struct ipcr_segment const *segment, struct ipcr_queue_stats *out, struct ipcr_lane_stats *lanes,
                     uint32_t most);
int ipcr_queue_stats_of_file(int fd, struct ipcr_queue_stats *out, struct ipcr_lane_stats *lanes, uint32_t most);

struct ipcr_multicast_options {
    uint64_t policy;
    uint64_t on_laggard;
    uint64_t max_lag;
    ...;
};
struct ipcr_topic {
    char const *name;
    uint64_t length;
    uint32_t number;
};
struct ipcr_laggard {
    uint32_t subscriber;
    uint32_t pid;
    uint64_t behind;
    uint64_t since_ns;
    uint64_t must_reach;
};
struct ipcr_publisher;
struct ipcr_subscriber;
struct ipcr_subscription {
    uint32_t start;
    uint32_t on_lap;
    uint64_t sequence;
    uint32_t observe;
    uint32_t topics;
    uint64_t interval_ns;
    uint64_t spin_ns;
};
struct ipcr_subscriber_inbox {
    struct ipcr_subscriber *subscriber;
    char bytes[...];
};
uint64_t ipcr_multicast_footprint(uint64_t capacity, uint32_t entries);
int ipcr_segment_create_multicast(char const *dir, char const *name, uint64_t capacity, uint32_t entries,
                                  struct ipcr_multicast_options const *options, uint64_t start_sequence,
                                  struct ipcr_segment **out);
void ipcr_segment_multicast_options(struct ipcr_segment const *segment, struct ipcr_multicast_options *out);
uint32_t ipcr_topic_number(char const *name, uint64_t length);
int ipcr_publisher_open(struct ipcr_segment *segment, uint64_t spin_ns, uint32_t *by, struct ipcr_publisher **out);
void ipcr_publisher_close(struct ipcr_publisher *p);
void ipcr_publisher_free(struct ipcr_publisher *p);
int64_t ipcr_publish_bytes(struct ipcr_publisher *p, char const *message, uint64_t length);
int64_t ipcr_publish(struct ipcr_publisher *p, struct ipcr_topic const *topic, struct ipcr_piece const *pieces,
                     uint64_t count, uint64_t info);
int64_t ipcr_publish_many(struct ipcr_publisher *p, struct ipcr_topic const *topic, char const *messages,
                          uint64_t const *lengths, uint64_t const *infos, uint64_t count);
int ipcr_publisher_claim(struct ipcr_publisher *p, struct ipcr_topic const *topic, uint64_t length);
char *ipcr_publisher_lent(struct ipcr_publisher const *p);
int64_t ipcr_publisher_commit(struct ipcr_publisher *p, uint64_t length, uint64_t info);
int ipcr_publisher_abort(struct ipcr_publisher *p);
int ipcr_publisher_wait(struct ipcr_publisher *p, uint64_t deadline_ns, int resume);
void ipcr_publisher_stop_waiting(struct ipcr_publisher *p);
int ipcr_publisher_look_around(struct ipcr_publisher *p);
void ipcr_publisher_laggard(struct ipcr_publisher *p, struct ipcr_laggard *out);
int ipcr_subscriber_open(struct ipcr_segment *segment, struct ipcr_subscription const *wanted,
                         struct ipcr_topic const *topics, uint64_t *oldest, uint64_t *next,
                         struct ipcr_subscriber **out);
void ipcr_subscriber_close(struct ipcr_subscriber *s);
void ipcr_subscriber_free(struct ipcr_subscriber *s);
int64_t ipcr_subscriber_recv_into(struct ipcr_subscriber_inbox *inbox);
int64_t ipcr_subscriber_try_recv_into(struct ipcr_subscriber_inbox *inbox);
int64_t ipcr_subscriber_copy(struct ipcr_subscriber *s, char *out, uint64_t room);
int64_t ipcr_subscriber_recv_many(struct ipcr_subscriber *s, char *out, uint64_t room, int64_t *results,
                                  uint64_t *sequences, uint64_t *lost, uint64_t most);
int ipcr_subscriber_settle(struct ipcr_subscriber *s, uint64_t taken, uint64_t next, uint64_t lost);
int64_t ipcr_subscriber_peek(struct ipcr_subscriber *s);
char const *ipcr_subscriber_lent(struct ipcr_subscriber const *s);
int ipcr_subscriber_release(struct ipcr_subscriber *s);
int ipcr_subscriber_put_back(struct ipcr_subscriber *s);
int ipcr_subscriber_wait(struct ipcr_subscriber *s, uint64_t deadline_ns, int resume);
void ipcr_subscriber_stop_waiting(struct ipcr_subscriber *s);
int ipcr_subscriber_look_around(struct ipcr_subscriber *s);
uint32_t ipcr_multicast_publisher_pid(struct ipcr_segment const *segment);
uint64_t ipcr_subscriber_last_sequence(struct ipcr_subscriber const *s);
uint64_t ipcr_subscriber_last_lost(struct ipcr_subscriber const *s);
int32_t ipcr_subscriber_last_topic(struct ipcr_subscriber const *s, char const **name);
uint64_t ipcr_subscriber_lost(struct ipcr_subscriber const *s);
struct ipcr_subscriber_stats {
    uint32_t number;
    uint32_t pid;
    uint32_t state;
    uint32_t alive;
    uint64_t next;
    uint64_t received;
    uint64_t lost;
};
struct ipcr_multicast_stats {
    uint32_t creator_pid;
    uint32_t present;
    uint32_t named;
    uint32_t entries;
    uint64_t capacity;
    uint64_t published;
    uint64_t oldest;
    uint64_t bytes;
    uint64_t parked_ns;
    uint64_t evicted;
    uint64_t high_water;
    uint32_t publisher_pid;
    uint32_t publisher_state;
    uint32_t publisher_alive;
    uint32_t subscribers;
    struct ipcr_multicast_options options;
};
int ipcr_multicast_stats(struct ipcr_segment const *segment, struct ipcr_multicast_stats *out,
                         struct ipcr_subscriber_stats *subscribers, uint32_t most);
int ipcr_multicast_stats_of_file(int fd, struct ipcr_multicast_stats *out, struct ipcr_subscriber_stats *subscribers,
                                 uint32_t most);

int ipcr_os_end_with(int fd, int exit_code);

void const *ipcr_fast_calls(void);
