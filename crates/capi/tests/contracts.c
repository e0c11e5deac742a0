// Every function against NULL, wrong sizes and closed handles: contracts MODEL
//
// Catches: a header that does not fit the library, and an argument that ends the program.

#include "check.h"
#include "fieldfit.h"

// Checks that a call fails with a status, and that its error object says so.
static void refused(int line, fieldfit_status found, fieldfit_status expected, fieldfit_error *error) {
    if (found != expected) {
        fprintf(stderr, "line %d: %s, expected %s: %s\n", line, fieldfit_status_name(found), fieldfit_status_name(expected),
                fieldfit_error_message(error));
        abort();
    }
    CHECK(fieldfit_error_status(error) == expected);
    CHECK(fieldfit_error_message(error)[0] != '\0');
    fieldfit_error_free(error);
}

// Two statements: the arguments of one call are evaluated in no fixed order, and the error is set by the first.
#define REFUSED(expected, call)                                                                                                \
    do {                                                                                                                       \
        fieldfit_error *error = NULL;                                                                                          \
        const fieldfit_status found = call;                                                                                    \
        refused(__LINE__, found, expected, error);                                                                                       \
    } while (0)

// Every call that takes a runtime, otherwise with arguments that may be NULL or are.
static void refuse_runtime(fieldfit_runtime *runtime, fieldfit_status expected) {
    fieldfit_frame frame = fieldfit_frame_init();
    fieldfit_prediction prediction = fieldfit_prediction_init();
    fieldfit_adapted adapted = fieldfit_adapted_init();
    fieldfit_version version;
    fieldfit_adaptation *adaptation = NULL;
    size_t count = 0;
    bool changed = false;
    char *text = NULL;
    uint32_t number = 0;
    REFUSED(expected, fieldfit_infer(runtime, &frame, &prediction, &error));
    float values[4];
    REFUSED(expected, fieldfit_scores(runtime, &frame, values, 4, &prediction, &error));
    REFUSED(expected, fieldfit_infer_batch(runtime, &frame, 1, &prediction, &error));
    REFUSED(expected, fieldfit_embed(runtime, &frame, values, 4, &version, &error));
    REFUSED(expected, fieldfit_embedding_length(runtime, &count, &error));
    fieldfit_task task;
    uint16_t classes[4];
    REFUSED(expected, fieldfit_current_task(runtime, &task, &error));
    REFUSED(expected, fieldfit_segment(runtime, &frame, 2, 2, classes, &version, &error));
    REFUSED(expected, fieldfit_estimate(runtime, &frame, values, 4, &version, &error));
    REFUSED(expected, fieldfit_tag(runtime, &frame, values, NULL, 4, &version, &error));
    REFUSED(expected, fieldfit_current_version(runtime, &version, &error));
    REFUSED(expected, fieldfit_labels(runtime, NULL, 0, &count, &error));
    REFUSED(expected, fieldfit_drift(runtime, &text, &error));
    REFUSED(expected, fieldfit_activate(runtime, 1, &error));
    REFUSED(expected, fieldfit_confirm(runtime, &error));
    REFUSED(expected, fieldfit_rollback(runtime, &version, &error));
    REFUSED(expected, fieldfit_poll(runtime, &changed, &version, &error));
    REFUSED(expected, fieldfit_add(runtime, "a.delta", &number, &error));
    REFUSED(expected, fieldfit_teach(runtime, "mud", &frame, 1, NULL, &adapted, &text, &error));
    REFUSED(expected, fieldfit_remove_taught(runtime, "mud", &adapted, &text, &error));
    REFUSED(expected, fieldfit_on_notice(runtime, NULL, NULL, &error));
    REFUSED(expected, fieldfit_adapt_start(runtime, "images", NULL, NULL, NULL, &adaptation, &error));
}

static void refuse_adaptation(fieldfit_adaptation *adaptation, fieldfit_status expected) {
    fieldfit_adapted adapted = fieldfit_adapted_init();
    char *text = NULL;
    REFUSED(expected, fieldfit_adapt_pause(adaptation, &error));
    REFUSED(expected, fieldfit_adapt_resume(adaptation, &error));
    REFUSED(expected, fieldfit_adapt_stop(adaptation, &error));
    REFUSED(expected, fieldfit_adapt_wait(adaptation, -1, &adapted, &text, &error));
}

// NULL in each place of each call that takes an open runtime.
static void refuse_null(fieldfit_runtime *runtime) {
    fieldfit_frame frame = fieldfit_frame_init();
    fieldfit_prediction prediction = fieldfit_prediction_init();
    size_t count = 0;
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_infer(runtime, NULL, &prediction, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_infer(runtime, &frame, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_infer(runtime, &frame, &prediction, &error));
    float values[4];
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_scores(runtime, NULL, values, 4, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_scores(runtime, &frame, NULL, 4, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_infer_batch(runtime, NULL, 1, &prediction, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_infer_batch(runtime, &frame, 1, NULL, &error));
    CHECK(fieldfit_infer_batch(runtime, NULL, 0, NULL, NULL) == FIELDFIT_OK);
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_embed(runtime, NULL, values, 4, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_embed(runtime, &frame, NULL, 4, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_embedding_length(runtime, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_current_version(runtime, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_labels(runtime, NULL, 0, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_labels(runtime, NULL, 1, &count, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_drift(runtime, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_add(runtime, NULL, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_teach(runtime, NULL, &frame, 1, NULL, NULL, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_teach(runtime, "mud", NULL, 1, NULL, NULL, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_remove_taught(runtime, NULL, NULL, NULL, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_adapt_start(runtime, "images", NULL, NULL, NULL, NULL, &error));
    fieldfit_adaptation *adaptation = NULL;
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_adapt_start(runtime, NULL, NULL, NULL, NULL, &adaptation, &error));
    CHECK(adaptation == NULL);
}

static void refuse_sizes(fieldfit_runtime *runtime) {
    // The result is the smallest structure.
    const uint32_t sizes[] = {0, 3, sizeof(fieldfit_adapted) - 1, UINT32_MAX};
    for (size_t index = 0; index < sizeof sizes / sizeof *sizes; index++) {
        fieldfit_frame frame = fieldfit_frame_init();
        fieldfit_prediction prediction = fieldfit_prediction_init();
        frame.struct_size = sizes[index];
        REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_infer(runtime, &frame, &prediction, &error));
        frame = fieldfit_frame_init();
        prediction.struct_size = sizes[index];
        REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_infer(runtime, &frame, &prediction, &error));
        fieldfit_options options = fieldfit_options_init();
        options.struct_size = sizes[index];
        fieldfit_runtime *none = NULL;
        REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_open(&options, &none, &error));
        fieldfit_adapted adapted = fieldfit_adapted_init();
        adapted.struct_size = sizes[index];
        REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_remove_taught(runtime, "mud", &adapted, NULL, &error));
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK(fieldfit_abi_version() == FIELDFIT_ABI);
    CHECK(fieldfit_library_version()[0] != '\0');
    fieldfit_error_free(NULL);
    fieldfit_string_free(NULL);
    CHECK(fieldfit_error_message(NULL)[0] == '\0');
    CHECK(fieldfit_error_status(NULL) == FIELDFIT_OK);
    CHECK(fieldfit_close(NULL) == FIELDFIT_OK);
    CHECK(fieldfit_adapt_close(NULL) == FIELDFIT_OK);
    refuse_runtime(NULL, FIELDFIT_INVALID_ARGUMENT);
    refuse_adaptation(NULL, FIELDFIT_INVALID_ARGUMENT);

    fieldfit_options options = fieldfit_options_init();
    fieldfit_runtime *runtime = NULL;
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_open(NULL, &runtime, &error));
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_open(&options, &runtime, &error));
    options.model = argv[1];
    REFUSED(FIELDFIT_INVALID_ARGUMENT, fieldfit_open(&options, NULL, &error));
    CHECK(fieldfit_open(&options, &runtime, NULL) == FIELDFIT_OK);
    refuse_null(runtime);
    refuse_sizes(runtime);

    // An adaptation of a folder that is missing: it fails, and its handle goes on until it is closed.
    fieldfit_adaptation *adaptation = NULL;
    CHECK(fieldfit_adapt_start(runtime, "/nowhere", NULL, NULL, NULL, &adaptation, NULL) == FIELDFIT_OK);
    REFUSED(FIELDFIT_IMAGE, fieldfit_adapt_wait(adaptation, -1, NULL, NULL, &error));
    REFUSED(FIELDFIT_IMAGE, fieldfit_adapt_wait(adaptation, 0, NULL, NULL, &error));
    refuse_runtime((fieldfit_runtime *)adaptation, FIELDFIT_CLOSED);
    CHECK(fieldfit_adapt_close(adaptation) == FIELDFIT_OK);
    refuse_adaptation(adaptation, FIELDFIT_CLOSED);
    CHECK(fieldfit_adapt_close(adaptation) == FIELDFIT_CLOSED);

    CHECK(fieldfit_close(runtime) == FIELDFIT_OK);
    refuse_runtime(runtime, FIELDFIT_CLOSED);
    CHECK(fieldfit_close(runtime) == FIELDFIT_CLOSED);
    puts("contracts hold");
    return 0;
}
