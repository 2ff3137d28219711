import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.FileOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.util.HashMap;
import java.util.Map;

/** Serves an OpenWhisk action in a loop: a line of JSON in on standard input, a line of JSON out on descriptor 3. */
public class OpenWhiskLauncher {
  public static void main(String[] arguments) throws Exception {
    JsonObject settings = parse(new String(Files.readAllBytes(Paths.get(".openwhisk.json")), StandardCharsets.UTF_8)).getAsJsonObject();
    Method action = find(settings.get("main").getAsString());
    PrintStream answers = new PrintStream(new FileOutputStream(descriptor()), true, "UTF-8");
    if (System.getenv("__OW_WAIT_FOR_ACK") != null) answers.println("{\"ok\":true}");
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      answers.println(serve(action, line));
      System.out.flush();
      System.err.flush();
    }
  }

  /** Descriptor 3 is a socket, which cannot be opened by its name in /proc. */
  private static java.io.FileDescriptor descriptor() throws Exception {
    java.io.FileDescriptor three = new java.io.FileDescriptor();
    java.lang.reflect.Field number = java.io.FileDescriptor.class.getDeclaredField("fd");
    number.setAccessible(true);
    number.setInt(three, 3);
    return three;
  }

  private static JsonElement serve(Method action, String line) {
    try {
      JsonObject call = parse(line).getAsJsonObject();
      Map<String, String> environment = new HashMap<>();
      for (Map.Entry<String, JsonElement> entry : call.entrySet()) {
        if (entry.getKey().equals("env")) {
          for (Map.Entry<String, JsonElement> one : entry.getValue().getAsJsonObject().entrySet())
            environment.put(one.getKey(), one.getValue().getAsString());
        } else if (!entry.getKey().equals("value")) {
          environment.put("__OW_" + entry.getKey().toUpperCase(), entry.getValue().getAsString());
        }
      }
      augment(environment);
      JsonElement value = call.has("value") ? call.get("value") : new JsonObject();
      Object result = action.invoke(null, action.getParameterTypes()[0] == JsonArray.class ? value.getAsJsonArray() : value.getAsJsonObject());
      return result == null ? error("The action returned null.") : (JsonElement) result;
    } catch (InvocationTargetException failure) {
      failure.getCause().printStackTrace();
      return error("An error has occurred (see logs for details): " + failure.getCause());
    } catch (Exception failure) {
      failure.printStackTrace();
      return error(failure.toString());
    }
  }

  /** `package.Class` or `package.Class#method`. */
  private static Method find(String main) throws Exception {
    int hash = main.indexOf('#');
    String name = hash < 0 ? "main" : main.substring(hash + 1);
    Class<?> type = Class.forName(hash < 0 ? main : main.substring(0, hash));
    for (Method method : type.getDeclaredMethods()) {
      Class<?>[] given = method.getParameterTypes();
      boolean fits = given.length == 1 && JsonElement.class.isAssignableFrom(given[0]) && JsonElement.class.isAssignableFrom(method.getReturnType());
      if (!method.getName().equals(name) || !Modifier.isStatic(method.getModifiers()) || !fits) continue;
      method.setAccessible(true);
      return method;
    }
    throw new NoSuchMethodException(main + " has no static method " + name + "(JsonObject) that returns a JsonObject");
  }

  /** Java's view of the environment is made once; the action is to see what changes from call to call. */
  @SuppressWarnings("unchecked")
  private static void augment(Map<String, String> more) {
    try {
      for (Class<?> type : java.util.Collections.class.getDeclaredClasses()) {
        if (!type.getName().equals("java.util.Collections$UnmodifiableMap")) continue;
        java.lang.reflect.Field inner = type.getDeclaredField("m");
        inner.setAccessible(true);
        ((Map<String, String>) inner.get(System.getenv())).putAll(more);
      }
    } catch (Exception failure) {
      // Without --add-opens there is no way; the system's properties have it in any case.
      for (Map.Entry<String, String> one : more.entrySet()) System.setProperty(one.getKey(), one.getValue());
    }
  }

  private static JsonObject error(String message) {
    JsonObject failed = new JsonObject();
    failed.addProperty("error", message);
    return failed;
  }

  @SuppressWarnings("deprecation")
  private static JsonElement parse(String text) {
    return new JsonParser().parse(text);
  }
}
