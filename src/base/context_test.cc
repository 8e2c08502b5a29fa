#include "base/context.h"

#include <gtest/gtest.h>

#include <stdexcept>
#include <vector>

namespace watersic {
namespace {

TEST(Context, OfAPoolAloneIsSilentAndNeverStops) {
  ThreadPool pool(2);
  const Context context(pool);
  EXPECT_EQ(&context.pool(), &pool);
  context.tell("stage", "blocks", 1, 2);
  context.check();
  EXPECT_FALSE(context.as("other").progress());
}

TEST(Context, EventsPassThroughEachChange) {
  ThreadPool pool(1);
  std::vector<ProgressEvent> told;
  const Context context(pool, [&](const ProgressEvent& event) { told.push_back(event); });
  context.tell("forward", "blocks", 1, 4, "a line");
  context.as("original").tell("forward", "blocks", 2, 4);
  const Context doubled = context.as("last").changed([](ProgressEvent& event) { event.done *= 2; });
  doubled.tell("forward", "blocks", 3, 4);
  ASSERT_EQ(told.size(), 3U);
  EXPECT_EQ(told[0].stage, "forward");
  EXPECT_EQ(told[0].detail, "a line");
  EXPECT_EQ(told[1].stage, "original");
  EXPECT_EQ(told[1].done, 2);
  EXPECT_EQ(told[2].stage, "last");
  EXPECT_EQ(told[2].done, 6);
}

TEST(Context, AChangedOneStopsLikeTheFirst) {
  ThreadPool pool(1);
  const Context context(
      pool, [](const ProgressEvent&) {}, [] { throw std::runtime_error("stop"); });
  EXPECT_THROW(context.check(), std::runtime_error);
  EXPECT_THROW(context.as("other").check(), std::runtime_error);
}

}  // namespace
}  // namespace watersic
