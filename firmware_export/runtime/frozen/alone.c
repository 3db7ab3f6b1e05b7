/* No adaptation on a controller whose policy is in integers. */
#include "alone.h"

int alone_active(const struct firmware *firmware)
{
    (void)firmware;
    return 0;
}

struct params_outcome alone_start(struct firmware *firmware, const struct msg_adapt *message)
{
    const struct params_outcome refused = {RESULT_FROZEN, 0};

    (void)firmware;
    (void)message;
    return refused;
}

/* Asked how far it is, it says that there was none. */
void alone_report(struct firmware *firmware)
{
    uint8_t payload[LENGTH_ADAPTATION];
    struct msg_adaptation message = {0};

    message.progress = PROGRESS_NONE;
    message.crc32 = firmware->params.base_crc;
    firmware_send(firmware, payload,
                  msg_adaptation_put(firmware_header(firmware, payload, MSG_ADAPTATION, firmware->session), &message));
}

void alone_end(struct firmware *firmware)
{
    (void)firmware;
}

void alone_go_on(struct firmware *firmware)
{
    (void)firmware;
}

void alone_tell(struct firmware *firmware)
{
    (void)firmware;
}

void alone_pause(struct firmware *firmware)
{
    (void)firmware;
}

void alone_resume(struct firmware *firmware)
{
    (void)firmware;
}
