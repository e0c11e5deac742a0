// A program of the first release of this binary interface, built against its header: program MODEL
//
// Catches: a library of the same soname with which a released program no longer runs, or reads a member elsewhere. It is compiled
// against abi/0/fieldfit.h, which never changes, and linked to the library of today.

#include "fieldfit.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                                                       \
    do {                                                                                                                       \
        if (!(condition)) {                                                                                                    \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                                      \
            abort();                                                                                                           \
        }                                                                                                                      \
    } while (0)

#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(fieldfit_options) == 88, "options");
_Static_assert(offsetof(fieldfit_options, flags) == 48, "options.flags");
_Static_assert(offsetof(fieldfit_options, trial_starts) == 84, "options.trial_starts");
_Static_assert(sizeof(fieldfit_frame) == 80, "frame");
_Static_assert(offsetof(fieldfit_frame, crop) == 64, "frame.crop");
_Static_assert(sizeof(fieldfit_prediction) == 552, "prediction");
_Static_assert(offsetof(fieldfit_prediction, top) == 16, "prediction.top");
_Static_assert(offsetof(fieldfit_prediction, base) == 296, "prediction.base");
_Static_assert(sizeof(fieldfit_adapted) == 56, "adapted");
#endif

static int heard = 0;

static void hear(const char *json, void *user) {
    CHECK(json[0] == '{');
    ++*(int *)user;
}

// Answers a grey frame, whole and in part.
static void frames(fieldfit_runtime *runtime) {
    unsigned char pixels[64 * 48];
    for (size_t index = 0; index < sizeof pixels; index++) pixels[index] = (unsigned char)(index * 7 % 251);
    fieldfit_frame frame = fieldfit_frame_init();
    frame.format = FIELDFIT_GRAY8;
    frame.data = pixels;
    frame.length = sizeof pixels;
    frame.width = 64;
    frame.height = 48;
    fieldfit_prediction prediction = fieldfit_prediction_init();
    CHECK(fieldfit_infer(runtime, &frame, &prediction, NULL) == FIELDFIT_OK);
    CHECK(prediction.struct_size == sizeof prediction);
    CHECK(prediction.count == 16 && prediction.base_count == 16 && prediction.has_novelty == 0);
    CHECK(prediction.version.kind == FIELDFIT_VERSION_BASE);
    CHECK(prediction.top[0].label == prediction.base[0].label && prediction.top[0].label[0] != '\0');
    CHECK(prediction.top[0].probability >= prediction.top[1].probability && prediction.top[1].probability > 0);
    static float values[1280];
    fieldfit_version version = {9, 9};
    size_t length = 0;
    CHECK(fieldfit_scores(runtime, &frame, values, 1000, &prediction, NULL) == FIELDFIT_OK);
    CHECK(values[prediction.top[0].index] == prediction.top[0].probability);
    CHECK(fieldfit_embedding_length(runtime, &length, NULL) == FIELDFIT_OK && length == 1280);
    CHECK(fieldfit_embed(runtime, &frame, values, length, &version, NULL) == FIELDFIT_OK && version.kind == 0);
    CHECK(fieldfit_infer_batch(runtime, &frame, 1, &prediction, NULL) == FIELDFIT_OK);
    frame.crop.width = 65;
    frame.crop.height = 1;
    fieldfit_error *error = NULL;
    CHECK(fieldfit_infer(runtime, &frame, &prediction, &error) == FIELDFIT_IMAGE);
    CHECK(fieldfit_error_status(error) == FIELDFIT_IMAGE && fieldfit_error_message(error)[0] != '\0');
    fieldfit_error_free(error);
}

int main(int argc, char **argv) {
    CHECK(argc == 2 && fieldfit_abi_version() == 0 && FIELDFIT_ABI == 0);
    fieldfit_options options = fieldfit_options_init();
    options.model = argv[1];
    options.flags = FIELDFIT_BASE_ANSWERS;
    options.threads = 1;
    fieldfit_runtime *runtime = NULL;
    CHECK(fieldfit_open(&options, &runtime, NULL) == FIELDFIT_OK);
    CHECK(fieldfit_on_notice(runtime, hear, &heard, NULL) == FIELDFIT_OK);
    frames(runtime);

    const char *labels[2] = {NULL, NULL};
    size_t count = 0;
    CHECK(fieldfit_labels(runtime, labels, 2, &count, NULL) == FIELDFIT_OK && count == 1000 && labels[1] != NULL);
    char *text = NULL;
    CHECK(fieldfit_drift(runtime, &text, NULL) == FIELDFIT_OK && text[0] == '{');
    fieldfit_string_free(text);
    bool changed = true;
    fieldfit_version version = {9, 9};
    CHECK(fieldfit_poll(runtime, &changed, &version, NULL) == FIELDFIT_OK && !changed && version.kind == 0);
    CHECK(fieldfit_current_version(runtime, &version, NULL) == FIELDFIT_OK);

    // What needs a store is refused without one.
    uint32_t number = 0;
    fieldfit_adapted adapted = fieldfit_adapted_init();
    CHECK(fieldfit_activate(runtime, 1, NULL) == FIELDFIT_STORE);
    CHECK(fieldfit_confirm(runtime, NULL) == FIELDFIT_STORE);
    CHECK(fieldfit_rollback(runtime, &version, NULL) == FIELDFIT_STORE);
    CHECK(fieldfit_add(runtime, "a.delta", &number, NULL) == FIELDFIT_STORE);
    CHECK(fieldfit_remove_taught(runtime, "mud", &adapted, NULL, NULL) == FIELDFIT_STORE);
    CHECK(fieldfit_teach(runtime, "mud", NULL, 0, NULL, &adapted, NULL, NULL) == FIELDFIT_STORE);

    fieldfit_adaptation *adaptation = NULL;
    CHECK(fieldfit_adapt_start(runtime, "/nowhere", "{\"epochs\":1}", hear, &heard, &adaptation, NULL) == FIELDFIT_OK);
    CHECK(fieldfit_adapt_pause(adaptation, NULL) == FIELDFIT_OK && fieldfit_adapt_resume(adaptation, NULL) == FIELDFIT_OK);
    CHECK(fieldfit_adapt_wait(adaptation, -1, &adapted, NULL, NULL) == FIELDFIT_IMAGE);
    CHECK(fieldfit_adapt_stop(adaptation, NULL) == FIELDFIT_OK && fieldfit_adapt_close(adaptation) == FIELDFIT_OK);
    CHECK(fieldfit_close(runtime) == FIELDFIT_OK && fieldfit_close(runtime) == FIELDFIT_CLOSED);
    printf("%s runs a program of interface 0\n", fieldfit_library_version());
    return 0;
}
