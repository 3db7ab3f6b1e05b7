/* What the host may ask for. Every command but KEEP_ALIVE is answered; one that comes again is answered again from
 * memory and not carried out again, so the host may repeat a command whose answer was lost. */
#include <string.h>

#include "alone.h"
#include "answers.h"
#include "firmware.h"
#include "hal.h"
#include "hashes.h"
#include "policy.h"
#include "rom.h"
#include "store.h"

static const char spec_hash[] ROM = ROBOT_SPEC_HASH;
static const char layout_hash[] ROM = POLICY_LAYOUT_HASH;
static const char policy_hash[] ROM = POLICY_HASH;

static void send_ack(struct firmware *firmware, uint16_t session, const struct msg_ack *ack)
{
    uint8_t payload[LENGTH_ACK];
    firmware_send(firmware, payload, msg_ack_put(firmware_header(firmware, payload, MSG_ACK, session), ack));
}

static void send_hello_reply(struct firmware *firmware, uint16_t session, uint16_t session_before)
{
    uint8_t payload[LENGTH_HELLO_REPLY];
    struct msg_hello_reply reply;
    size_t i;

    memset(&reply, 0, sizeof reply);
    reply.protocol_major = PROTOCOL_MAJOR;
    reply.protocol_minor = PROTOCOL_MINOR;
    reply.schema = PROTOCOL_SCHEMA_HASH;
    for (i = 0; i < sizeof reply.board && firmware->board[i] != '\0'; i++) {
        reply.board[i] = (uint8_t)firmware->board[i];
    }
    reply.firmware_id = firmware->firmware_id;
    reply.boot_id = firmware->boot_id;
    hash_bytes(spec_hash, reply.spec_hash);
    hash_bytes(layout_hash, reply.layout_hash);
    hash_bytes(policy_hash, reply.policy_hash);
    reply.state = firmware->state;
    reply.n_sensors = ROBOT_SENSORS;
    reply.n_actuators = ROBOT_ACTUATORS;
    reply.n_parameters = POLICY_PARAMETERS;
    reply.control_period_us = ROBOT_CONTROL_PERIOD_US;
    reply.current_session = session_before;
    firmware_send(firmware, payload,
                  msg_hello_reply_put(firmware_header(firmware, payload, MSG_HELLO_REPLY, session), &reply));
}

static int newer(uint16_t sequence, uint16_t than)
{
    const uint16_t ahead = (uint16_t)(sequence - than);
    return ahead != 0 && ahead < 0x8000u;
}

static void hello(struct firmware *firmware, const struct protocol_header *header, const uint8_t *fields)
{
    const uint16_t before = firmware->session;
    struct msg_hello message;

    (void)msg_hello_get(fields, &message);
    if (header->session == 0) { /* only asks who is there */
        send_hello_reply(firmware, 0, before);
        return;
    }
    /* the same number under another sequence is no repetition: another host has drawn it too */
    if (header->session != before || header->sequence != firmware->hello_sequence) {
        /* an adaptation whose host is gone goes on: the new one listens, and may end it */
        const int handed_over = alone_active(firmware) && firmware->link_silent;
        const uint8_t next = handed_over ? firmware->state : safety_next(firmware->state, EVENT_TAKEOVER);
        if (next == SAFETY_REFUSED || (firmware->state == STATE_ARMED && !firmware->link_silent)) {
            struct msg_ack busy;
            busy.acknowledged = MSG_HELLO;
            busy.acknowledged_sequence = header->sequence;
            busy.result = RESULT_BUSY;
            busy.detail = before;
            send_ack(firmware, header->session, &busy);
            return;
        }
        firmware->state = next; /* but for an adaptation, no state that can be taken over has torque */
        firmware->session = header->session;
        firmware->hello_sequence = header->sequence;
        firmware->last_sequence = header->sequence;
        firmware->has_ack = 0;
        firmware->owed.type = 0;
        firmware->params.uploading = 0;
    }
    firmware->heard_us = hal_now_us();
    firmware->link_silent = 0;
    firmware->same_schema = message.protocol_major == PROTOCOL_MAJOR && message.schema == (uint32_t)PROTOCOL_SCHEMA_HASH;
    send_hello_reply(firmware, header->session, before);
}

static struct params_outcome answer(uint8_t result, uint32_t detail)
{
    const struct params_outcome out = {result, detail};
    return out;
}

/* The answer to a command that this state does not allow. */
static struct params_outcome refuse(const struct firmware *firmware)
{
    if (firmware->state == STATE_ESTOP) {
        return answer(RESULT_ESTOPPED, 0);
    }
    if (firmware->state == STATE_FAULT) {
        return answer(RESULT_FAULTED, (uint32_t)firmware->fault | firmware->fault_detail << 8);
    }
    return answer(RESULT_WRONG_STATE, firmware->state);
}

/* A command that only moves the safety machine. */
static struct params_outcome change_state(struct firmware *firmware, uint8_t event, uint8_t reason)
{
    const uint8_t next = safety_next(firmware->state, event);

    if (next == SAFETY_REFUSED) {
        return refuse(firmware);
    }
    alone_end(firmware);
    if (firmware->state == STATE_RUN) {
        firmware_end_episode(firmware, next, reason);
    } else if (firmware->state == STATE_HOLD) {
        firmware_end_episode(firmware, next, event == EVENT_ESTOP ? reason : REASON_WATCHDOG);
    } else {
        firmware_release(firmware, next);
    }
    return answer(RESULT_OK, 0);
}

static struct params_outcome arm(struct firmware *firmware)
{
    struct hal_devices devices;

    if (!firmware->same_schema) {
        return answer(RESULT_OTHER_SCHEMA, (uint32_t)PROTOCOL_SCHEMA_HASH);
    }
    if (firmware->unfit != FAULT_NONE) {
        return answer(RESULT_FAULTED, firmware->unfit);
    }
    if (firmware->state == STATE_IDLE) { /* from the others no ARM leads on, or it has been looked already */
        hal_devices(1, &devices);
        if (devices.fault != FAULT_NONE) {
            firmware_fault(firmware, devices.fault, devices.detail);
            return answer(RESULT_FAULTED, (uint32_t)devices.fault | devices.detail << 8);
        }
    }
    return change_state(firmware, EVENT_ARM, 0);
}

/* Whether an episode may begin; if not, `why`. */
static int may_run(struct firmware *firmware, struct params_outcome *why)
{
    if (safety_next(firmware->state, EVENT_RUN) == SAFETY_REFUSED) {
        *why = refuse(firmware);
        return 0;
    }
    if (firmware->unfit != FAULT_NONE) {
        *why = answer(RESULT_FAULTED, firmware->unfit);
        return 0;
    }
    alone_end(firmware); /* who asks for an episode of its own does not want the next one of an adaptation */
    return 1;
}

static struct params_outcome run(struct firmware *firmware, const uint8_t *fields)
{
    struct params_outcome made;
    struct msg_run message;

    (void)msg_run_get(fields, &message);
    if (!may_run(firmware, &made)) {
        return made;
    }
    made = params_candidate(&firmware->params, message.direction_seed, message.sigma);
    if (made.result == RESULT_OK) {
        firmware_begin_episode(firmware, message.episode_id, message.episode_seed);
    }
    return made;
}

static struct params_outcome run_hosted(struct firmware *firmware, const uint8_t *fields)
{
    struct params_outcome made = {RESULT_OK, 0};
    struct msg_run_hosted message;

    (void)msg_run_hosted_get(fields, &message);
    if (may_run(firmware, &made)) {
        firmware_begin_episode(firmware, message.episode_id, message.episode_seed);
        firmware->hosted = 1;
    }
    return made;
}

/* Latest wins, no answer: the record of the control period is one. */
static void action(struct firmware *firmware, const uint8_t *fields)
{
    struct msg_action message;

    (void)msg_action_get(fields, &message);
    if (firmware->state != STATE_RUN || !firmware->hosted || !firmware->awaits ||
        message.episode_id != firmware->episode.id || message.tick != firmware->episode.tick) {
        firmware->stale++;
        return;
    }
    firmware_action(firmware, message.actuators);
}

static struct params_outcome adapt(struct firmware *firmware, const uint8_t *fields)
{
    struct params_outcome why;
    struct msg_adapt message;

    (void)msg_adapt_get(fields, &message);
    return may_run(firmware, &why) ? alone_start(firmware, &message) : why;
}

static struct params_outcome pause_or_resume(struct firmware *firmware, uint8_t type)
{
    if (!alone_active(firmware)) {
        return refuse(firmware);
    }
    if (type == MSG_PAUSE) {
        alone_pause(firmware);
    } else {
        alone_resume(firmware);
    }
    return answer(RESULT_OK, 0);
}

static struct params_outcome selftest(struct firmware *firmware)
{
    float worst = 0.0f;
    uint32_t bits;
    int failed;

    failed = params_selftest(&firmware->params, &firmware->episode.policy, &worst);
    memcpy(&bits, &worst, sizeof bits);
    if (failed) {
        if (firmware->unfit == FAULT_NONE) { /* the first reason stands: passing this test must not lift another one */
            firmware->unfit = FAULT_SELFTEST;
        }
        if (firmware->state == STATE_ARMED) { /* a policy that fails its test must not stay armed */
            firmware_fault(firmware, FAULT_SELFTEST, 0);
            firmware->state = safety_next(firmware->state, EVENT_FAULT);
        }
    } else if (firmware->unfit == FAULT_SELFTEST) {
        firmware->unfit = FAULT_NONE;
    } else {
        /* fit before and after, or unfit for a reason that no self-test takes away */
    }
    return answer(failed ? RESULT_SELFTEST_FAILED : RESULT_OK, bits);
}

/* Commands that touch the parameters wait until the episode is over. */
static struct params_outcome parameters(struct firmware *firmware, uint8_t type, const uint8_t *fields)
{
    struct msg_params_begin begin;
    struct msg_params_chunk chunk;
    struct msg_commit commit;
    struct msg_params_store store;

    if (safety_torque(firmware->state) || alone_active(firmware)) {
        return refuse(firmware);
    }
    switch (type) {
    case MSG_PARAMS_BEGIN:
        (void)msg_params_begin_get(fields, &begin);
        return params_begin(&firmware->params, begin.count, begin.crc32);
    case MSG_PARAMS_CHUNK:
        (void)msg_params_chunk_get(fields, &chunk);
        return params_chunk(&firmware->params, chunk.offset, chunk.used, chunk.values);
    case MSG_PARAMS_END:
        return params_end(&firmware->params);
    case MSG_COMMIT:
        (void)msg_commit_get(fields, &commit);
        return params_commit(&firmware->params, commit.direction_seed, commit.sigma, commit.crc32);
    case MSG_PARAMS_STORE:
        (void)msg_params_store_get(fields, &store);
        return store_keep(&firmware->params, store.keep);
    default:
        return selftest(firmware);
    }
}

static void keep_alive(struct firmware *firmware, const uint8_t *fields)
{
    struct msg_keep_alive message;
    uint32_t seen_us, now;

    (void)msg_keep_alive_get(fields, &message);
    if (message.episode_id != firmware->episode.id || !firmware->episode.begun ||
        message.tick > firmware->episode.tick || message.tick < firmware->alive_tick || firmware->hosted) {
        firmware->stale++;
        return;
    }
    if (firmware->state != STATE_RUN) {
        return; /* crossed the end of the episode on its way, or comes too late: HOLD is not left by it */
    }
    /* it proves that the host was there at that tick, and not at the time when it arrives: what lay in a buffer for
     * a second does not count as a sign of life of now */
    seen_us = firmware->first_tick_us + (uint32_t)message.tick * (uint32_t)ROBOT_CONTROL_PERIOD_US;
    now = hal_now_us();
    firmware->alive_tick = message.tick;
    firmware->alive_us = now - seen_us < (uint32_t)0x80000000UL ? seen_us : now; /* a tick may have come early */
}

static struct params_outcome carry_out(struct firmware *firmware, uint8_t type, const uint8_t *fields)
{
    switch (type) {
    case MSG_ARM:
        return arm(firmware);
    case MSG_DISARM:
        return change_state(firmware, EVENT_DISARM, REASON_DISARMED);
    case MSG_RUN:
        return run(firmware, fields);
    case MSG_RUN_HOSTED:
        return run_hosted(firmware, fields);
    case MSG_ADAPT:
        return adapt(firmware, fields);
    case MSG_PAUSE:
    case MSG_RESUME:
        return pause_or_resume(firmware, type);
    case MSG_STOP:
        return change_state(firmware, EVENT_STOP, REASON_STOPPED);
    case MSG_ESTOP:
        return change_state(firmware, EVENT_ESTOP, REASON_ESTOPPED);
    case MSG_CLEAR_ESTOP:
        return change_state(firmware, EVENT_CLEAR_ESTOP, 0);
    default:
        return parameters(firmware, type, fields);
    }
}

void firmware_command(struct firmware *firmware, const uint8_t *payload, size_t length)
{
    struct protocol_header header;
    struct params_outcome outcome;
    struct msg_ack ack;
    const uint8_t *fields;
    const unsigned expected = protocol_command_length(payload[0]);

    if (expected == 0 || length != expected) {
        firmware->bad_messages++;
        return;
    }
    fields = protocol_header_get(payload, &header);
    if (header.type == MSG_HELLO) {
        hello(firmware, &header, fields);
        return;
    }
    if (header.type != MSG_ESTOP) { /* the emergency stop asks for neither session nor sequence */
        if (header.session != firmware->session || header.session == 0) {
            firmware->wrong_session++;
            return;
        }
        if (!newer(header.sequence, firmware->last_sequence)) {
            if (header.sequence == firmware->last_sequence && firmware->has_ack &&
                firmware->last_ack.acknowledged == header.type &&
                firmware->last_ack.acknowledged_sequence == header.sequence) {
                send_ack(firmware, header.session, &firmware->last_ack);
            } else if (header.sequence != firmware->last_sequence ||
                       !answers_question(firmware, &header, fields)) {
                firmware->stale++;
            } else {
                /* a question that came twice: it is answered anew */
            }
            return;
        }
        firmware->last_sequence = header.sequence;
        firmware->heard_us = hal_now_us();
        firmware->link_silent = 0;
    }
    if (answers_question(firmware, &header, fields)) {
        return;
    }
    if (header.type == MSG_ACTION) {
        action(firmware, fields);
        return;
    }
    if (header.type == MSG_KEEP_ALIVE) {
        keep_alive(firmware, fields);
        return;
    }
    outcome = carry_out(firmware, header.type, fields);
    ack.acknowledged = header.type;
    ack.acknowledged_sequence = header.sequence;
    ack.result = outcome.result;
    ack.detail = outcome.detail;
    if (header.type != MSG_ESTOP) {
        firmware->last_ack = ack;
        firmware->has_ack = 1;
    }
    send_ack(firmware, header.session, &ack);
}
