// The C++ interface with exceptions: interface MODEL STORE IMAGES
//
// Catches: an error whose message is lost, a handle that is closed twice or never, a listener that is called after it died.

#include "check.h"
#include "images.hpp"

#include <atomic>
#include <type_traits>

static_assert(!std::is_copy_constructible_v<fieldfit::Runtime> && std::is_nothrow_move_constructible_v<fieldfit::Runtime>);
static_assert(!std::is_copy_constructible_v<fieldfit::Adaptation> && std::is_nothrow_move_assignable_v<fieldfit::Adaptation>);

namespace {

// Checks that a call throws an error of that status, whose message has these words.
template <class Call> void refused(fieldfit_status status, std::string_view words, Call &&call) {
    try {
        call();
    } catch (const fieldfit::Error &error) {
        CHECK(error.status() == status);
        CHECK(std::string_view(error.what()).find(words) != std::string_view::npos);
        return;
    }
    CHECK(!"thrown");
}

void teaching(fieldfit::Runtime &runtime) {
    const Picture one(1), other(2);
    std::vector<std::string> notices;
    runtime.on_notice([&](std::string_view json) { notices.emplace_back(json); });
    const fieldfit::Adapted mud = runtime.teach("mud", {one.frame()});
    CHECK(mud.version == 1 && mud.active == 1 && mud.json.rfind("{\"event\":\"done\"", 0) == 0);
    CHECK(runtime.teach("ice", {other.frame()}).version == 2);
    CHECK(notices.size() == 2 && notices[0] == "{\"notice\":\"swapped\",\"from\":null,\"to\":1}");
    runtime.on_notice({});

    const fieldfit::Prediction prediction = runtime.infer(one.frame());
    CHECK(prediction.version().number() == 2u && prediction.size() == 2);
    CHECK(prediction.best().label == "mud");
    const std::vector<std::string_view> labels = runtime.labels();
    CHECK(labels.size() == 2 && labels[prediction.best().index] == "mud");
    CHECK(runtime.rollback().number() == 1u && notices.size() == 2);
    runtime.activate(2);
    runtime.confirm();
    CHECK(!runtime.poll() && runtime.version() == prediction.version());
    CHECK(runtime.remove_taught("ice").version == 3);
    CHECK(runtime.infer(one.frame()).size() == 1);
}

void collecting(const std::string &collection) {
    fieldfit::Collector collector = fieldfit::Collector::open(collection, "{\"rate\":10,\"all\":true}");
    const Picture one(1), other(2);
    CHECK(collector.observe(one.frame(), 0.0) && collector.observe(other.frame(), 1.0));
    CHECK(collector.label(0.5, "mud").find("\"images\":[\"") != std::string::npos);
    CHECK(collector.label_between(0.0, 0.5, "ice", "tag").find("\"evicted\":0") != std::string::npos);
    CHECK(collector.statistics().find("\"images\":2") != std::string::npos);
    refused(FIELDFIT_INVALID_ARGUMENT, "boss", [&] { collector.label(1.0, "mud", "boss"); });
}

void adapting(fieldfit::Runtime &runtime, const std::string &images) {
    std::atomic<int> events{0};
    const char *options = "{\"epochs\":1,\"size\":32,\"method\":\"linear-probe\",\"group\":\"^([^_]+)_\"}";
    fieldfit::Adaptation adaptation = runtime.adapt(images, options, [&](std::string_view) { ++events; });
    const Picture picture(1);
    std::size_t answered = 0;
    for (; !adaptation.is_done(); ++answered) runtime.infer(picture.frame());
    const fieldfit::Adapted adapted = adaptation.wait();
    CHECK(adapted.gate_images > 0 && adapted.json.find("\"reason\"") != std::string::npos);
    CHECK(events > 2 && answered > 0);

    // A run that is destroyed while it goes on.
    fieldfit::Adaptation stopped = runtime.adapt(images, "{\"epochs\":1000,\"size\":32}");
    adaptation = std::move(stopped);
    adaptation.pause();
    adaptation.resume();
    adaptation.stop();
    refused(FIELDFIT_STOPPED, "stopped", [&] { adaptation.wait(); });
}

} // namespace

int main(int argc, char **argv) {
    CHECK(argc == 4);
    refused(FIELDFIT_MODEL, "nowhere", [] { fieldfit::Runtime::open({"/nowhere"}); });
    fieldfit::Options options{argv[1]};
    options.store = argv[2];
    options.flags = FIELDFIT_CREATE_STORE | FIELDFIT_BASE_ANSWERS;
    options.threads = 1;
    fieldfit::Runtime opened = fieldfit::Runtime::open(options);
    fieldfit::Runtime runtime = std::move(opened);

    const Picture picture(1);
    fieldfit::Prediction prediction = runtime.infer(picture.frame());
    CHECK(prediction.version().is_base() && prediction.version().to_string() == "the base");
    CHECK(prediction.size() == FIELDFIT_MAX_TOP && prediction.base_size() == FIELDFIT_MAX_TOP);
    CHECK(prediction.best().label == prediction.base(0).label && !prediction.novelty());
    CHECK(runtime.drift().find("\"frames\":1") != std::string::npos);
    fieldfit_frame small = picture.frame();
    small.length -= 1;
    refused(FIELDFIT_IMAGE, "9216", [&] { runtime.infer(small); });
    refused(FIELDFIT_INVALID_ARGUMENT, "epoch", [&] { runtime.adapt(argv[3], "{\"epoch\":1}"); });
    refused(FIELDFIT_STORE, "", [&] { runtime.activate(7); });
    const fieldfit::Prediction part = runtime.infer(fieldfit::crop(picture.frame(), {8, 8, 32, 32}));
    CHECK(part.size() == FIELDFIT_MAX_TOP);

    const std::vector<float> scores = runtime.scores(picture.frame());
    CHECK(scores.size() == 1000 && scores[prediction.best().index] == prediction.best().probability);
    const std::vector<float> features = runtime.embed(picture.frame());
    CHECK(features.size() == 1280);
    CHECK(runtime.task() == FIELDFIT_CLASSIFICATION);
    refused(FIELDFIT_VERSION, "pixels", [&] { runtime.segment(picture.frame(), 8, 8); });
    refused(FIELDFIT_VERSION, "values", [&] { runtime.estimate(picture.frame()); });
    refused(FIELDFIT_VERSION, "labels", [&] { runtime.tag(picture.frame()); });
    const std::vector<fieldfit::Prediction> batch = runtime.infer({picture.frame(), picture.frame()});
    CHECK(batch.size() == 2 && batch[1].best().probability == prediction.best().probability);
    refused(FIELDFIT_IMAGE, "frame 1", [&] { runtime.infer({picture.frame(), small}); });

    collecting(std::string(argv[2]) + ".collection");
    teaching(runtime);
    adapting(runtime, argv[3]);
    puts("the C++ interface holds");
    return 0;
}
