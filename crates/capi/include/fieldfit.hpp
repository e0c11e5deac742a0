// C++17 interface of Fieldfit over fieldfit.h: header-only, with owning handles.
//
// Calls throw fieldfit::Error. With FIELDFIT_NO_EXCEPTIONS defined, they return fieldfit::Expected<T> instead, and nothing throws.
//
// Where OpenCV or ROS 2 is installed, fieldfit::frame takes a cv::Mat or a sensor_msgs::msg::Image without a copy; define
// FIELDFIT_NO_OPENCV or FIELDFIT_NO_ROS to leave it out.

#pragma once

#include "fieldfit.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#if !defined(FIELDFIT_NO_OPENCV) && __has_include(<opencv2/core/mat.hpp>)
#include <opencv2/core/mat.hpp>
#define FIELDFIT_HAS_OPENCV 1
#endif

#if !defined(FIELDFIT_NO_ROS) && __has_include(<sensor_msgs/msg/image.hpp>)
#include <sensor_msgs/msg/image.hpp>
#define FIELDFIT_HAS_ROS 1
#endif

static_assert(FIELDFIT_ABI == 0, "fieldfit.hpp and fieldfit.h are of different releases: install both together");

namespace fieldfit {

// Error of a call: its status, and what failed, where, and what to do.
class Error : public std::runtime_error {
public:
    Error(fieldfit_status status, const std::string &message) : std::runtime_error(message), status_(status) {}

    fieldfit_status status() const noexcept { return status_; }

private:
    fieldfit_status status_;
};

// Value of a call or its error, for programs without exceptions.
template <class T> class [[nodiscard]] Expected {
public:
    Expected(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Expected(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    explicit operator bool() const noexcept { return state_.index() == 0; }

    // The value; only if there is one.
    T &operator*() & noexcept { return *std::get_if<0>(&state_); }
    const T &operator*() const & noexcept { return *std::get_if<0>(&state_); }
    T &&operator*() && noexcept { return std::move(*std::get_if<0>(&state_)); }
    T *operator->() noexcept { return std::get_if<0>(&state_); }
    const T *operator->() const noexcept { return std::get_if<0>(&state_); }

    // The error; only if there is no value.
    const Error &error() const noexcept { return *std::get_if<1>(&state_); }

private:
    std::variant<T, Error> state_;
};

template <> class [[nodiscard]] Expected<void> {
public:
    Expected() = default;
    Expected(Error error) : error_(std::move(error)) {}

    explicit operator bool() const noexcept { return !error_; }
    const Error &error() const noexcept { return *error_; }

private:
    std::optional<Error> error_;
};

#ifdef FIELDFIT_NO_EXCEPTIONS
template <class T> using Result = Expected<T>;
#else
template <class T> using Result = T;
#endif

namespace detail {

// Error object of one call.
class ErrorSlot {
public:
    ErrorSlot() = default;
    ErrorSlot(const ErrorSlot &) = delete;
    ErrorSlot &operator=(const ErrorSlot &) = delete;
    ~ErrorSlot() { fieldfit_error_free(error_); }

    // Place for the error, which one call sets.
    fieldfit_error **out() noexcept { return &error_; }
    Error take(fieldfit_status status) const { return Error(status, fieldfit_error_message(error_)); }

private:
    fieldfit_error *error_ = nullptr;
};

// Fails with an error: throws it, or returns it.
template <class T> Result<T> fail(Error error) {
#ifdef FIELDFIT_NO_EXCEPTIONS
    return Expected<T>(std::move(error));
#else
    throw error;
#endif
}

// Returns what `value` makes if the call succeeded; otherwise fails with its error. The call has returned when this begins: the
// error object is set.
template <class T, class Value> Result<T> finish(fieldfit_status status, const ErrorSlot &error, Value &&value) {
    if (status != FIELDFIT_OK) return fail<T>(error.take(status));
    return value();
}

inline Result<void> finish(fieldfit_status status, const ErrorSlot &error) {
    return finish<void>(status, error, [] { return Result<void>(); });
}

// Takes a string of the library's.
inline std::string take(char *text) {
    std::string taken(text == nullptr ? "" : text);
    fieldfit_string_free(text);
    return taken;
}

// NULL for an empty string.
inline const char *or_null(const std::string &text) noexcept { return text.empty() ? nullptr : text.c_str(); }

} // namespace detail

// Function that is called with an event as a JSON object. It must not throw: std::terminate.
using Listener = std::function<void(std::string_view json)>;

namespace detail {

// Callback of C that calls the listener behind `user`.
inline void call_listener(const char *json, void *user) noexcept { (*static_cast<const Listener *>(user))(json); }

} // namespace detail

// Version of the weights: the base, a delta file, or a number in the store.
class Version {
public:
    Version() = default;
    explicit Version(fieldfit_version version) : version_(version) {}

    bool is_base() const noexcept { return version_.kind == FIELDFIT_VERSION_BASE; }
    bool is_stored() const noexcept { return version_.kind == FIELDFIT_VERSION_STORED; }
    // Number in the store, if it is of one.
    std::optional<std::uint32_t> number() const {
        return is_stored() ? std::optional<std::uint32_t>(version_.number) : std::nullopt;
    }
    std::string to_string() const {
        if (is_stored()) return "version " + std::to_string(version_.number);
        return is_base() ? "the base" : "the delta file";
    }

    friend bool operator==(const Version &a, const Version &b) noexcept {
        return a.version_.kind == b.version_.kind && a.version_.number == b.version_.number;
    }
    friend bool operator!=(const Version &a, const Version &b) noexcept { return !(a == b); }

private:
    fieldfit_version version_{FIELDFIT_VERSION_BASE, 0};
};

// Ranked class. The label lives as long as its Runtime.
struct Ranked {
    std::string_view label;
    std::uint32_t index;
    float probability;
};

// Novelty of a frame: how far its features are from all that the version was trained on.
struct Novelty {
    float distance;
    float threshold;
    float false_alarm_rate;
    bool is_unknown;
};

// Label of a frame with any number of them.
struct Tag {
    float probability;
    float threshold;
    bool is_present() const noexcept { return probability >= threshold; }
};

// Prediction for one frame. It owns nothing; its labels live as long as its Runtime.
class Prediction {
public:
    explicit Prediction(const fieldfit_prediction &prediction) : prediction_(prediction) {}

    Version version() const { return Version(prediction_.version); }

    // Number of ranked classes, and one of them, by descending probability.
    std::size_t size() const noexcept { return prediction_.count; }
    Ranked operator[](std::size_t rank) const { return ranked(prediction_.top[rank]); }
    Ranked best() const { return ranked(prediction_.top[0]); }

    // The same of the base's own classes; none without FIELDFIT_BASE_ANSWERS.
    std::size_t base_size() const noexcept { return prediction_.base_count; }
    Ranked base(std::size_t rank) const { return ranked(prediction_.base[rank]); }

    // Novelty; none without FIELDFIT_NOVELTY, or of a version without a threshold.
    std::optional<Novelty> novelty() const {
        if (prediction_.has_novelty == 0) return std::nullopt;
        return Novelty{prediction_.novelty_distance, prediction_.novelty_threshold, prediction_.novelty_false_alarm_rate,
                       prediction_.is_unknown != 0};
    }

    const fieldfit_prediction &c() const noexcept { return prediction_; }

private:
    static Ranked ranked(const fieldfit_ranked &ranked) { return {ranked.label, ranked.index, ranked.probability}; }

    fieldfit_prediction prediction_;
};

// Frame of the bytes of a JPEG, PNG, WebP, BMP, TIFF or GIF file, which it borrows.
inline fieldfit_frame frame(const void *bytes, std::size_t length) noexcept {
    fieldfit_frame frame = fieldfit_frame_init();
    frame.format = FIELDFIT_ENCODED;
    frame.data = static_cast<const std::uint8_t *>(bytes);
    frame.length = length;
    return frame;
}

// Frame of a camera's pixels, which it borrows. A stride of 0 means that rows follow each other.
inline fieldfit_frame frame(const void *pixels, std::size_t length, fieldfit_format format, std::uint32_t width,
                            std::uint32_t height, std::size_t stride = 0) noexcept {
    fieldfit_frame frame = fieldfit::frame(pixels, length);
    frame.format = format;
    frame.width = width;
    frame.height = height;
    frame.stride = stride;
    return frame;
}

// Part of a frame, without a copy.
inline fieldfit_frame crop(fieldfit_frame frame, fieldfit_rect part) noexcept {
    frame.crop = part;
    return frame;
}

#ifdef FIELDFIT_HAS_OPENCV
// Frame of a matrix of CV_8UC1 (grey), CV_8UC3 (BGR), CV_8UC4 (BGRA) or CV_16UC1 (grey), also of a part of one, which it borrows.
inline Result<fieldfit_frame> frame(const cv::Mat &mat) {
    fieldfit_format format = FIELDFIT_ENCODED;
    switch (mat.type()) {
    case CV_8UC1: format = FIELDFIT_GRAY8; break;
    case CV_8UC3: format = FIELDFIT_BGR8; break;
    case CV_8UC4: format = FIELDFIT_BGRA8; break;
    case CV_16UC1: format = FIELDFIT_GRAY16; break;
    default:
        return detail::fail<fieldfit_frame>(Error(
            FIELDFIT_IMAGE, "the cv::Mat has type " + std::to_string(mat.type()) +
                                ": expected CV_8UC1, CV_8UC3, CV_8UC4 or CV_16UC1; convert it with cv::Mat::convertTo"));
    }
    if (mat.dims != 2 || mat.empty()) {
        return detail::fail<fieldfit_frame>(
            Error(FIELDFIT_IMAGE, "the cv::Mat is empty or has more than 2 dimensions: expected an image"));
    }
    const std::size_t stride = mat.step[0];
    const std::size_t length = stride * static_cast<std::size_t>(mat.rows - 1) + static_cast<std::size_t>(mat.cols) * mat.elemSize();
    return frame(mat.data, length, format, static_cast<std::uint32_t>(mat.cols), static_cast<std::uint32_t>(mat.rows), stride);
}
#endif

#ifdef FIELDFIT_HAS_ROS
// Frame of a ROS 2 image message, which it borrows.
inline Result<fieldfit_frame> frame(const sensor_msgs::msg::Image &image) {
    struct Encoding {
        std::string_view name;
        fieldfit_format format;
    };
    static constexpr Encoding encodings[] = {
        {"rgb8", FIELDFIT_RGB8},       {"bgr8", FIELDFIT_BGR8},   {"rgba8", FIELDFIT_RGBA8},         {"bgra8", FIELDFIT_BGRA8},
        {"mono8", FIELDFIT_GRAY8},     {"8UC1", FIELDFIT_GRAY8},  {"8UC3", FIELDFIT_BGR8},           {"mono16", FIELDFIT_GRAY16},
        {"16UC1", FIELDFIT_GRAY16},    {"yuyv", FIELDFIT_YUYV},   {"yuv422_yuy2", FIELDFIT_YUYV},    {"uyvy", FIELDFIT_UYVY},
        {"yuv422", FIELDFIT_UYVY},
    };
    for (const Encoding &encoding : encodings) {
        if (encoding.name != image.encoding) continue;
        if (encoding.format == FIELDFIT_GRAY16 && image.is_bigendian) break;
        return frame(image.data.data(), image.data.size(), encoding.format, image.width, image.height, image.step);
    }
    return detail::fail<fieldfit_frame>(
        Error(FIELDFIT_IMAGE, "the image message has the encoding " + image.encoding + (image.is_bigendian ? ", big-endian" : "") +
                                  ": expected rgb8, bgr8, rgba8, bgra8, mono8, mono16, yuyv, uyvy or a YUV 4:2:2 name of those; "
                                  "convert it with cv_bridge"));
}
#endif

// Options of a runtime. What is empty or 0 is at its default.
struct Options {
    std::string model;
    std::string store = {};
    std::string delta = {};
    std::string key = {};
    fieldfit_device device = FIELDFIT_CPU;
    std::uint32_t device_ordinal = 0;
    std::uint32_t threads = 0;
    // FIELDFIT_CREATE_STORE and so on, added up.
    std::uint32_t flags = 0;
    std::uint32_t drift_every = 0;
    std::uint32_t max_failures = 0;
    std::uint32_t keep_versions = 0;
    std::uint64_t keep_bytes = 0;
    std::uint64_t memory_budget = 0;
    std::uint32_t trial_predictions = 0;
    std::uint32_t trial_starts = 0;

    // The same for C, which borrows the strings.
    fieldfit_options c() const noexcept {
        fieldfit_options options = fieldfit_options_init();
        options.model = model.c_str();
        options.store = detail::or_null(store);
        options.delta = detail::or_null(delta);
        options.key = detail::or_null(key);
        options.device = device;
        options.device_ordinal = device_ordinal;
        options.threads = threads;
        options.flags = flags;
        options.drift_every = drift_every;
        options.max_failures = max_failures;
        options.keep_versions = keep_versions;
        options.keep_bytes = keep_bytes;
        options.memory_budget = memory_budget;
        options.trial_predictions = trial_predictions;
        options.trial_starts = trial_starts;
        return options;
    }
};

// Result of an adaptation or a class addition: its figures, and all of it with the reason of the verdict as a JSON object.
struct Adapted : fieldfit_adapted {
    std::string json;
};

// Collector of labelled images: a collection on disk, and the frames before a label in memory. Any number of threads may share it.
class Collector {
public:
    // `options_json` is empty, or an object of what differs from the defaults of fieldfit_collector_open.
    static Result<Collector> open(const std::string &collection, const std::string &options_json = {}) {
        fieldfit_collector *handle = nullptr;
        detail::ErrorSlot error;
        const char *options = options_json.empty() ? nullptr : options_json.c_str();
        const fieldfit_status status = fieldfit_collector_open(collection.c_str(), options, &handle, error.out());
        return detail::finish<Collector>(status, error, [&] { return Collector(handle); });
    }

    // Takes a frame of the camera's time `at`, in seconds, into the buffer; whether it is there now.
    Result<bool> observe(const fieldfit_frame &frame, double at, const fieldfit_prediction *prediction = nullptr) {
        bool taken = false;
        detail::ErrorSlot error;
        const fieldfit_status status =
            fieldfit_collector_observe(handle_.get(), &frame, at, prediction, &taken, error.out());
        return detail::finish<bool>(status, error, [&] { return taken; });
    }

    // Labels the frames of the last so many seconds; what was stored and left out, as a JSON object.
    Result<std::string> label(double last, const std::string &label, const std::string &origin = "operator") {
        char *json = nullptr;
        detail::ErrorSlot error;
        const fieldfit_status status =
            fieldfit_collector_label(handle_.get(), last, label.c_str(), origin.c_str(), &json, error.out());
        return detail::finish<std::string>(status, error, [&] { return detail::take(json); });
    }

    // Labels the frames from one time to another, both included.
    Result<std::string> label_between(double from, double to, const std::string &label,
                                      const std::string &origin = "operator") {
        char *json = nullptr;
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_collector_label_between(handle_.get(), from, to, label.c_str(),
                                                                        origin.c_str(), &json, error.out());
        return detail::finish<std::string>(status, error, [&] { return detail::take(json); });
    }

    // Numbers of the collection, as a JSON object.
    Result<std::string> statistics() const {
        char *json = nullptr;
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_collector_statistics(handle_.get(), &json, error.out());
        return detail::finish<std::string>(status, error, [&] { return detail::take(json); });
    }

private:
    struct Close {
        void operator()(fieldfit_collector *handle) const noexcept { fieldfit_collector_close(handle); }
    };

    explicit Collector(fieldfit_collector *handle) : handle_(handle) {}

    std::unique_ptr<fieldfit_collector, Close> handle_;
};

// Adaptation that runs beside the frames. Destroying it stops the run, and waits for its thread.
class Adaptation {
public:
    Adaptation(Adaptation &&) noexcept = default;
    // The former run ends before its listener dies: when `other` does.
    Adaptation &operator=(Adaptation &&other) noexcept {
        std::swap(handle_, other.handle_);
        std::swap(listener_, other.listener_);
        return *this;
    }

    Result<void> pause() { return call(fieldfit_adapt_pause); }
    Result<void> resume() { return call(fieldfit_adapt_resume); }
    // Asks the run to save a checkpoint and stop; wait() then fails with FIELDFIT_STOPPED.
    Result<void> stop() { return call(fieldfit_adapt_stop); }

    // Whether the run has ended, whatever its result.
    bool is_done() const noexcept {
        return fieldfit_adapt_wait(handle_.get(), 0, nullptr, nullptr, nullptr) != FIELDFIT_RUNNING;
    }

    // Waits for the run to end, and returns its result. Not from its listener.
    Result<Adapted> wait() {
        Adapted adapted{fieldfit_adapted_init(), {}};
        char *json = nullptr;
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_adapt_wait(handle_.get(), -1, &adapted, &json, error.out());
        return detail::finish<Adapted>(status, error, [&] {
            adapted.json = detail::take(json);
            return adapted;
        });
    }

private:
    friend class Runtime;

    struct Close {
        void operator()(fieldfit_adaptation *handle) const noexcept { fieldfit_adapt_close(handle); }
    };

    Adaptation(fieldfit_adaptation *handle, std::unique_ptr<Listener> listener)
        : listener_(std::move(listener)), handle_(handle) {}

    Result<void> call(fieldfit_status (*function)(const fieldfit_adaptation *, fieldfit_error **)) {
        detail::ErrorSlot error;
        const fieldfit_status status = function(handle_.get(), error.out());
        return detail::finish(status, error);
    }

    // The run's thread calls it until the handle, which is destroyed first, is closed.
    std::unique_ptr<Listener> listener_;
    std::unique_ptr<fieldfit_adaptation, Close> handle_;
};

// Runtime: a base model, the version that runs on it, and its store. Any number of threads may share it; it must outlive
// their calls, its predictions' labels and its adaptations.
class Runtime {
public:
    static Result<Runtime> open(const Options &options) {
        if (fieldfit_abi_version() != FIELDFIT_ABI) {
            return detail::fail<Runtime>(Error(FIELDFIT_FAILED, "the library is of another ABI than fieldfit.h: " +
                                                                    std::to_string(fieldfit_abi_version())));
        }
        const fieldfit_options c = options.c();
        fieldfit_runtime *handle = nullptr;
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_open(&c, &handle, error.out());
        return detail::finish<Runtime>(status, error, [&] { return Runtime(handle); });
    }

    Runtime(Runtime &&) noexcept = default;
    // The former handle is closed before its listener dies: when `other` does.
    Runtime &operator=(Runtime &&other) noexcept {
        std::swap(handle_, other.handle_);
        std::swap(listener_, other.listener_);
        return *this;
    }

    Result<Prediction> infer(const fieldfit_frame &frame) const {
        fieldfit_prediction prediction = fieldfit_prediction_init();
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_infer(handle_.get(), &frame, &prediction, error.out());
        return detail::finish<Prediction>(status, error, [&] { return Prediction(prediction); });
    }

#ifdef FIELDFIT_HAS_OPENCV
    Result<Prediction> infer(const cv::Mat &mat) const { return infer_frame(fieldfit::frame(mat)); }
#endif
#ifdef FIELDFIT_HAS_ROS
    Result<Prediction> infer(const sensor_msgs::msg::Image &image) const { return infer_frame(fieldfit::frame(image)); }
#endif

    // Predictions of frames by one version, in their order.
    Result<std::vector<Prediction>> infer(const std::vector<fieldfit_frame> &frames) const {
        std::vector<fieldfit_prediction> predictions(frames.size(), fieldfit_prediction_init());
        detail::ErrorSlot error;
        const fieldfit_status status =
            fieldfit_infer_batch(handle_.get(), frames.data(), frames.size(), predictions.data(), error.out());
        return detail::finish<std::vector<Prediction>>(
            status, error, [&] { return std::vector<Prediction>(predictions.begin(), predictions.end()); });
    }

    // Probability of every class, in the order of the labels; should a swap have changed their number, as of the version before,
    // FIELDFIT_INVALID_ARGUMENT.
    Result<std::vector<float>> scores(const fieldfit_frame &frame) const {
        std::vector<float> scores;
        detail::ErrorSlot error;
        fieldfit_status status = for_each_label(scores, error);
        if (status != FIELDFIT_OK) return detail::fail<std::vector<float>>(error.take(status));
        status = fieldfit_scores(handle_.get(), &frame, scores.data(), scores.size(), nullptr, error.out());
        return detail::finish<std::vector<float>>(status, error, [&] { return std::move(scores); });
    }

    // Features of a frame, which the head reads.
    Result<std::vector<float>> embed(const fieldfit_frame &frame) const {
        std::size_t length = 0;
        detail::ErrorSlot error;
        fieldfit_status status = fieldfit_embedding_length(handle_.get(), &length, error.out());
        if (status != FIELDFIT_OK) return detail::fail<std::vector<float>>(error.take(status));
        std::vector<float> features(length);
        status = fieldfit_embed(handle_.get(), &frame, features.data(), features.size(), nullptr, error.out());
        return detail::finish<std::vector<float>>(status, error, [&] { return std::move(features); });
    }

    // What the running version answers about a frame. A call that answers for another task fails with FIELDFIT_VERSION.
    Result<fieldfit_task> task() const {
        fieldfit_task task = FIELDFIT_CLASSIFICATION;
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_current_task(handle_.get(), &task, error.out());
        return detail::finish<fieldfit_task>(status, error, [&] { return task; });
    }

    // The class of each pixel, row by row, at that size, such as the frame's: indices of the labels.
    Result<std::vector<std::uint16_t>> segment(const fieldfit_frame &frame, std::uint32_t width, std::uint32_t height) const {
        using Classes = std::vector<std::uint16_t>;
        Classes classes(static_cast<std::size_t>(width) * height);
        detail::ErrorSlot error;
        const fieldfit_status status =
            fieldfit_segment(handle_.get(), &frame, width, height, classes.data(), nullptr, error.out());
        return detail::finish<Classes>(status, error, [&] { return std::move(classes); });
    }

    // The values of a frame's targets, in the order of the labels, which name targets and units.
    Result<std::vector<float>> estimate(const fieldfit_frame &frame) const {
        std::vector<float> values;
        detail::ErrorSlot error;
        fieldfit_status status = for_each_label(values, error);
        if (status != FIELDFIT_OK) return detail::fail<std::vector<float>>(error.take(status));
        status = fieldfit_estimate(handle_.get(), &frame, values.data(), values.size(), nullptr, error.out());
        return detail::finish<std::vector<float>>(status, error, [&] { return std::move(values); });
    }

    // The probability of each label, and the one from which on it is predicted, in the order of the labels.
    Result<std::vector<Tag>> tag(const fieldfit_frame &frame) const {
        std::vector<float> probabilities;
        detail::ErrorSlot error;
        fieldfit_status status = for_each_label(probabilities, error);
        if (status != FIELDFIT_OK) return detail::fail<std::vector<Tag>>(error.take(status));
        std::vector<float> thresholds(probabilities.size());
        status = fieldfit_tag(handle_.get(), &frame, probabilities.data(), thresholds.data(), thresholds.size(), nullptr,
                              error.out());
        return detail::finish<std::vector<Tag>>(status, error, [&] {
            std::vector<Tag> tags;
            for (std::size_t label = 0; label < thresholds.size(); ++label) {
                tags.push_back({probabilities[label], thresholds[label]});
            }
            return tags;
        });
    }

    Result<Version> version() const {
        fieldfit_version version{};
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_current_version(handle_.get(), &version, error.out());
        return detail::finish<Version>(status, error, [&] { return Version(version); });
    }

    // Class names of the running version, in the order of the head's outputs. They live as long as the runtime.
    Result<std::vector<std::string_view>> labels() const {
        std::vector<const char *> names;
        std::size_t count = 0;
        do {
            // Again, should a swap have made them more.
            names.resize(count);
            detail::ErrorSlot error;
            const fieldfit_status status = fieldfit_labels(handle_.get(), names.data(), names.size(), &count, error.out());
            if (status != FIELDFIT_OK) return detail::fail<std::vector<std::string_view>>(error.take(status));
        } while (count > names.size());
        names.resize(count);
        return std::vector<std::string_view>(names.begin(), names.end());
    }

    // Drift figures of the running version, as a JSON object.
    Result<std::string> drift() const {
        char *json = nullptr;
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_drift(handle_.get(), &json, error.out());
        return detail::finish<std::string>(status, error, [&] { return detail::take(json); });
    }

    Result<void> activate(std::uint32_t version) {
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_activate(handle_.get(), version, error.out());
        return detail::finish(status, error);
    }

    Result<void> confirm() {
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_confirm(handle_.get(), error.out());
        return detail::finish(status, error);
    }

    Result<Version> rollback() {
        fieldfit_version version{};
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_rollback(handle_.get(), &version, error.out());
        return detail::finish<Version>(status, error, [&] { return Version(version); });
    }

    // The version that runs since, if it has changed.
    Result<std::optional<Version>> poll() {
        bool changed = false;
        fieldfit_version version{};
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_poll(handle_.get(), &changed, &version, error.out());
        return detail::finish<std::optional<Version>>(
            status, error, [&] { return changed ? std::optional<Version>(Version(version)) : std::nullopt; });
    }

    // Adds a delta file to the store, as a candidate, and returns its number.
    Result<std::uint32_t> add(const std::string &delta) {
        std::uint32_t number = 0;
        detail::ErrorSlot error;
        const fieldfit_status status = fieldfit_add(handle_.get(), delta.c_str(), &number, error.out());
        return detail::finish<std::uint32_t>(status, error, [&] { return number; });
    }

    // Teaches a class by some of its frames, without training. `known` is a folder of images of the other classes, or empty.
    Result<Adapted> teach(const std::string &name, const std::vector<fieldfit_frame> &frames, const std::string &known = {}) {
        return changed([&](fieldfit_adapted *out, char **json, fieldfit_error **error) {
            return fieldfit_teach(handle_.get(), name.c_str(), frames.data(), frames.size(), detail::or_null(known), out, json,
                                  error);
        });
    }

    // Removes a class that was taught.
    Result<Adapted> remove_taught(const std::string &name) {
        return changed([&](fieldfit_adapted *out, char **json, fieldfit_error **error) {
            return fieldfit_remove_taught(handle_.get(), name.c_str(), out, json, error);
        });
    }

    // Starts to adapt to the images in that folder, on a thread of its own, which calls the listener.
    Result<Adaptation> adapt(const std::string &images, const std::string &options_json = {}, Listener listener = {}) {
        std::unique_ptr<Listener> kept = listener ? std::make_unique<Listener>(std::move(listener)) : nullptr;
        fieldfit_adaptation *handle = nullptr;
        detail::ErrorSlot error;
        const fieldfit_status status =
            fieldfit_adapt_start(handle_.get(), images.c_str(), detail::or_null(options_json),
                                 kept ? detail::call_listener : nullptr, kept.get(), &handle, error.out());
        return detail::finish<Adaptation>(status, error, [&] { return Adaptation(handle, std::move(kept)); });
    }

    // Sets the listener of the runtime's notices, which any thread may call; an empty one removes it. Not from inside itself.
    Result<void> on_notice(Listener listener) {
        std::unique_ptr<Listener> next = listener ? std::make_unique<Listener>(std::move(listener)) : nullptr;
        detail::ErrorSlot error;
        const fieldfit_status status =
            fieldfit_on_notice(handle_.get(), next ? detail::call_listener : nullptr, next.get(), error.out());
        // No thread is inside the former listener any more.
        if (status == FIELDFIT_OK) listener_ = std::move(next);
        return detail::finish(status, error);
    }

    // The handle, for calls of fieldfit.h.
    fieldfit_runtime *c() const noexcept { return handle_.get(); }

private:
    struct Close {
        void operator()(fieldfit_runtime *handle) const noexcept { fieldfit_close(handle); }
    };

    explicit Runtime(fieldfit_runtime *handle) : handle_(handle) {}

    // Makes room for a number for each label of the running version.
    fieldfit_status for_each_label(std::vector<float> &numbers, detail::ErrorSlot &error) const {
        std::size_t count = 0;
        const fieldfit_status status = fieldfit_labels(handle_.get(), nullptr, 0, &count, error.out());
        numbers.resize(count);
        return status;
    }

    template <class Call> Result<Adapted> changed(Call &&call) {
        Adapted adapted{fieldfit_adapted_init(), {}};
        char *json = nullptr;
        detail::ErrorSlot error;
        const fieldfit_status status = call(&adapted, &json, error.out());
        return detail::finish<Adapted>(status, error, [&] {
            adapted.json = detail::take(json);
            return adapted;
        });
    }

    [[maybe_unused]] Result<Prediction> infer_frame(const Result<fieldfit_frame> &frame) const {
#ifdef FIELDFIT_NO_EXCEPTIONS
        if (!frame) return frame.error();
        return infer(*frame);
#else
        return infer(frame);
#endif
    }

    // Called until the handle, which is destroyed first, is closed.
    std::unique_ptr<Listener> listener_;
    std::unique_ptr<fieldfit_runtime, Close> handle_;
};

} // namespace fieldfit
